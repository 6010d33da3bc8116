"""The three dialects of a request mean the same, and docs/compatibility.md names tests that are there."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from protocol.bulk import BulkAnswer
from protocol.heartbeats import Heartbeat
from tests.support.api import REQUEST, Api, PlayedAgent

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "compatibility.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and "::" in line]
DIALECTS: dict[str, dict[str, Any]] = {
    "A": {"command_type": "start", "target_hostnames": ["HOST"], "pids": [7]},
    "B": {"request_type": "start", "target_hostnames": ["HOST"], "pids": [7]},
    "C": {"request_type": "start", "target_hosts": {"HOST": [7]}},
    "C by entity": {
        "request_type": "start", "target_scope": "process", "target_hosts": None,
        "target_entities": [{"service_name": "web", "hostname": "HOST", "pid": 7}],
    },
}  # fmt: skip


def named(value: Any, host: str) -> Any:
    """The example with the host's name in it."""
    if isinstance(value, dict):
        return {named(key, host): named(each, host) for key, each in value.items()}
    if isinstance(value, list):
        return [named(each, host) for each in value]
    return host if value == "HOST" else value


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_each_dialect_starts_the_same_thing(served: Api, agent: PlayedAgent, dialect: str) -> None:
    agent.beat(containers=[{"container_id": "c", "processes": [{"pid": 7}]}])
    body = {
        "service_name": "web",
        "duration": 90,
        "frequency": 42,
        "profiling_mode": "allocation",
        **named(DIALECTS[dialect], agent.host),
    }
    served.ok("POST", REQUEST, token=served.admin, json=body)
    assert agent.run()["profiling_command"] == {
        "command_type": "start",
        "combined_config": {
            "duration": 90, "frequency": 42, "profiling_mode": "allocation", "continuous": False, "pids": [7]
        },
    }  # fmt: skip
    stop = {**body, "stop_level": "process"}
    stop |= {name: "stop" for name in ("command_type", "request_type") if name in body}
    served.ok("POST", REQUEST, token=served.admin, json=stop)


def test_every_test_that_the_page_names_is_there() -> None:
    told = [re.search(r"`([\w/]+\.py)::(\w+)` \|$", row) for row in ROWS]
    assert len(told) > 30
    for row, found in zip(ROWS, told, strict=True):
        assert found is not None, row
        path = TESTS / found[1]
        assert path.is_file(), row
        functions = {
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert found[2] in functions, row


def test_every_field_of_the_dialects_has_a_row() -> None:
    told = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}
    asked = {
        "service_name", "command_type", "request_type", "duration", "frequency", "profiling_mode", "target_hostnames",
        "target_hosts", "target_scope", "target_entities", "pids", "stop_level", "additional_args", "continuous",
        "dry_run",
    }  # fmt: skip
    ours = {"capabilities"}  # said by our agent alone
    assert asked <= told
    assert set(Heartbeat.model_fields) - ours <= told
    assert set(BulkAnswer.model_fields) <= told
