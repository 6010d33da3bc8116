"""docs/protocol.md says what the code does: its tables are the code's tables."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api.problems import TABLE
from broker.token_store import TokenKind
from protocol.completions import Completion
from protocol.heartbeats import Heartbeat, HeartbeatReply
from protocol.lifecycle import NEXT, OUTCOMES
from protocol.requests import NOT_YET, ProfileRequest, RequestAccepted
from protocol.schedules import ScheduleWish
from tests.support.routes import ROUTES

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a text: rows of cells, without the head."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()[2:]] for block in blocks]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_lifecycle_is_that_of_the_code() -> None:
    rows = tables(PAGE.split("<!-- lifecycle -->")[1])[0]
    told = {(state, codes(event)[0]): codes(to)[0] for event, sources, to, _ in rows for state in codes(sources)}
    assert told == {(state.value, event.value): to.value for (state, event), to in NEXT.items()}
    assert all(when for *_, when in rows)


def test_the_outcomes_are_those_of_the_code() -> None:
    told = codes(PAGE.split("<!-- outcomes -->")[1].split("\n\n")[0])
    assert sorted(told) == sorted(OUTCOMES)


def test_the_refusals_are_those_of_the_code() -> None:
    rows = tables(PAGE.split("<!-- refusals -->")[1])[0]
    assert [(int(status), codes(code)[0]) for status, code, _ in rows] == sorted(
        (int(row.status), code) for code, row in TABLE.items()
    )


@pytest.mark.parametrize(
    ("title", "number", "model"),
    [
        ("Ask for a profile", 0, ProfileRequest),
        ("Heartbeat", 0, Heartbeat),
        ("Heartbeat", 1, HeartbeatReply),
        ("Completion", 0, Completion),
        ("Schedules", 0, ScheduleWish),
    ],
)
def test_every_field_is_told(title: str, number: int, model: type[BaseModel]) -> None:
    rows = tables(section(title))[number]
    assert sorted(codes(row[0])[0] for row in rows) == sorted(model.model_fields)
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    if model is not HeartbeatReply:
        assert {codes(row[0])[0] for row in rows if row[1].startswith("required")} == required


def test_the_answer_to_a_request_is_one() -> None:
    example = re.search(r"```json\n(.*?)```", section("Ask for a profile"), re.DOTALL)
    assert example is not None
    answer = RequestAccepted.model_validate_json(example[1])
    assert set(answer.model_fields_set) == set(RequestAccepted.model_fields)


def test_what_is_not_carried_out_is_told() -> None:
    assert set(NOT_YET) <= set(codes(section("Ask for a profile")))


def test_every_route_is_told() -> None:
    def is_told(method: str, path: str) -> bool:
        return f"`{method} {path}`" in PAGE or (method == "GET" and f"`{path}`" in PAGE)

    told: dict[tuple[str, str], Any] = {at: is_told(*at) for at in ROUTES}
    assert not [at for at, is_in in told.items() if not is_in]


def test_every_kind_of_token_is_told() -> None:
    assert [codes(row[0])[0] for row in tables(section("Tokens"))[1]] == [kind.value for kind in TokenKind]
