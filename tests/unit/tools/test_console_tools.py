"""What the page is built from: the API's document as it is now, packages by their digests, and from nowhere else."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tools import build_console
from tools.write_console_api import FILE, document

CONSOLE: Final = Path(__file__).parents[3] / "console"


def test_the_types_of_the_page_are_made_from_the_document_of_now() -> None:
    assert FILE.read_text() == document(), "run tools/write_console_api.py"


def test_every_package_is_pinned_by_its_digest_and_names_no_registry() -> None:
    lock: dict[str, Any] = json.loads((CONSOLE / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert not [name for name, facts in packages.items() if not facts.get("integrity", "").startswith("sha512-")]
    assert not [name for name, facts in packages.items() if "resolved" in facts]
    wanted = json.loads((CONSOLE / "package.json").read_text())
    named = {**wanted["dependencies"], **wanted["devDependencies"]}
    assert all(version[0].isdigit() for version in named.values())
    assert "scripts" not in wanted


def test_a_changed_source_is_another_build_and_what_the_build_makes_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "src" / "main.tsx").write_text("1")
    monkeypatch.setattr(build_console, "CONSOLE", tmp_path)
    first = build_console.digest()
    (tmp_path / "node_modules" / "x.js").write_text("1")
    (tmp_path / "src" / "schema.d.ts").write_text("1")
    assert build_console.digest() == first
    (tmp_path / "src" / "main.tsx").write_text("2")
    assert build_console.digest() != first
