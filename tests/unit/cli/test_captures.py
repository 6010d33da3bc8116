"""`docs/cli-captures.md` shows every command, in 80 columns. It is not made anew here: no two runs say the same."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from cli.main import COMMANDS, read

PAGE: Final = Path(__file__).parents[3] / "docs" / "cli-captures.md"
LEFT_OUT: Final = {
    **dict.fromkeys(("tokens create", "tokens rotate", "tenants create", "tenants admin"), "a secret is all they say"),
    **dict.fromkeys(("tokens revoke", "schedules pause", "schedules resume", "schedules delete"), "one line on one id"),
    **dict.fromkeys(("schedules show", "schedules change"), "as `schedules create` answers"),
    **dict.fromkeys(("profiles delete", "profiles reindex", "profiles compact"), "for those who look after the store"),
    "audit export": "JSON lines, as `audit tail -o ndjson`",
}
"""Commands without a capture, and why."""


def leaves() -> Iterator[str]:
    for name in COMMANDS:
        command = read(name)
        if isinstance(command, click.Group):
            yield from (f"{name} {below}" for below in command.commands)
        else:
            yield name


def blocks() -> list[list[str]]:
    return [
        text.splitlines() for text in re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    ]


def test_every_command_is_shown_or_left_out_for_a_reason() -> None:
    shown = {block[0].removeprefix("$ studio ") for block in blocks()}
    captured = {leaf for leaf in leaves() if any(f"{text} ".startswith(f"{leaf} ") for text in shown)}
    assert captured | set(LEFT_OUT) == set(leaves())
    assert not captured & set(LEFT_OUT)


def test_what_they_say_fits_80_columns_and_shows_no_secret() -> None:
    for command, *said in blocks():
        assert max(map(len, said), default=0) <= 80, command
    assert "pcs_" not in PAGE.read_text()
    assert "Traceback" not in PAGE.read_text()
