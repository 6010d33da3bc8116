"""The pages on Redis are made from the code, and are what they would be if they were made now."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pydantic_asyncapi.v3 import AsyncAPI

from broker import keys
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def redis_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redis_docs", ROOT / "tools" / "redis_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_not_stale(redis_docs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert redis_docs.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_page_is_told_and_written(
    redis_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(redis_docs, "DOCS", tmp_path)
    assert redis_docs.main(["--check"]) == 1
    assert list(tmp_path.iterdir()) == [], "a check writes nothing"
    assert "docs/redis.md is stale" in capsys.readouterr().out
    assert redis_docs.main([]) == 0
    assert redis_docs.main(["--check"]) == 0
    (tmp_path / "asyncapi.yaml").write_text("asyncapi: 3.0.0\n")
    assert redis_docs.main(["--check"]) == 1


def test_every_key_is_listed_with_its_type_its_life_and_who_writes_it(redis_docs: ModuleType) -> None:
    every = [redis_docs.read(builder) for builder in redis_docs.builders()]
    assert len(every) > 20
    page = (ROOT / "docs" / "redis.md").read_text()
    for key in every:
        assert f"| `{key.pattern}` | {key.kind} |" in page
        assert key.about, f"keys.{key.name} says not what it holds"
        assert key.writers, f"keys.{key.name} says not who writes it"
    by_name = {key.name: key for key in every}
    history = by_name["history"]
    assert (history.pattern, history.kind, history.life, history.writers) == (
        "pcs:{p}:history:<host>", "stream", "capped at 100, TTL 7 d", "settle, beat, complete",
    )  # fmt: skip
    assert [name for name, key in by_name.items() if redis_docs.public(key) == "**stream**"] == [
        "results",
        "events",
        "audit",
    ]
    assert {name for name, key in by_name.items() if redis_docs.public(key) == "**read**"} == {
        "host", "beats", "request", "request_hosts", "request_counts", "layout",
    }  # fmt: skip


def test_a_builder_that_says_no_type_is_told(redis_docs: ModuleType) -> None:
    def odd(partition: int) -> str:
        """Something. Of somebody; me."""
        return keys.beats(partition)

    with pytest.raises(ValueError, match=r"keys\.odd must begin with one of: Stream, "):
        redis_docs.read(odd)


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [part["$ref"]] if "$ref" in part else [ref for value in part.values() for ref in references(value)]
    return [ref for value in part for ref in references(value)] if isinstance(part, list) else []


def test_the_asyncapi_document_is_one() -> None:
    document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    assert AsyncAPI.model_validate(document).asyncapi == "3.0.0"
    found = references(document)
    assert len(found) >= 8
    for reference in found:
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    assert set(document["channels"]) == {"results", "events", "audit"}
    for name, channel in document["channels"].items():
        assert channel["address"].format(partition="{7}") == getattr(keys, name)(7)
        assert channel["parameters"].keys() == {"partition"}
    for operation in document["operations"].values():
        assert operation["action"] == "send"
        on_channel = document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["messages"]
        assert {ref["$ref"].rpartition("/")[2] for ref in operation["messages"]} == set(on_channel)
    for message in document["components"]["messages"].values():
        payload = message["payload"]
        assert payload["type"] == "object"
        assert set(payload["required"]) <= set(payload["properties"])
        assert {field["type"] for field in payload["properties"].values()} == {"string"}, "Redis knows texts alone"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("info"),
        lambda d: d.update(asyncapi="2.6.0"),
        lambda d: d["operations"]["tell_results"].pop("action"),
    ],
    ids=["info", "version", "action"],
)
def test_a_document_that_is_none_is_refused(spoil: Any) -> None:
    document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    spoil(document)
    with pytest.raises(ValueError, match="validation error"):
        AsyncAPI.model_validate(document)
