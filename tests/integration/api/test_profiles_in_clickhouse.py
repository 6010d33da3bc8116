"""The whole way with the index in ClickHouse: uploaded, indexed by the job, asked for; and the server goes away."""

import contextlib

import pytest

from tests.support.api import Api, running_api
from tests.support.clickhouse_server import clickhouse_server
from tests.support.refusals import check_problem
from workers.jobs import index_profiles

SERVICE = "in-clickhouse"
SELECTED = {"start": "2026-05-04T10:00:00Z", "end": "2026-05-04T12:00:00Z", "service": SERVICE}
UPLOAD = {
    "hostname": "a", "start_time": "2026-05-04T10:15:00", "end_time": "2026-05-04T10:16:00",
    "profile": "web;main;work 30\nweb;main;rest 10\ndb;loop 5",
}  # fmt: skip


def test_profiles_are_indexed_and_asked_for_there_and_wait_while_it_is_away(
    bare_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as until_the_end:
        with clickhouse_server() as server:
            monkeypatch.setenv("PCS_STATE_DIR", str(bare_api.state_dir))
            monkeypatch.setenv("PCS_PROFILES_ENGINE", server.url)
            api = until_the_end.enter_context(
                running_api(bare_api.state_dir, env={"PCS_PROFILES_ENGINE": server.url}, log="with-clickhouse.log")
            )
            sent = api.ok("POST", "/api/v2/profiles", token=api.agent, json=UPLOAD, params={"service": SERVICE})
            assert index_profiles.run("a turn") >= 1
            index_profiles.run("another one, which finds nothing to do")
            assert told(api, "flamegraph")["samples"] == 45
            assert told(api, "flamegraph/diff", base_start="2026-05-04T11:00:00Z")["base_samples"] == 0
            assert told(api, "flamegraph/functions")["functions"] == 6
            assert told(api, "flamegraph/timeline", step="3600")["samples"] == 45
            assert told(api, f"profiles/{sent['profile_id']}")["samples"] == 45
            assert told(bare_api, "flamegraph")["samples"] == 0, "files know nothing of it"
        answer = api.call("GET", "/api/v1/flamegraph", token=api.admin, params=SELECTED)
        assert answer.status_code == 503
        check_problem(answer, code="storage_unavailable", fields=[])
        api.ok("POST", "/api/v2/profiles", token=api.agent, json=UPLOAD, params={"service": "waiting"})
        assert "p%40ss" not in api.role.log.read_text() + answer.text


def told(api: Api, path: str, **where: str) -> dict[str, object]:
    found: dict[str, object] = api.ok("GET", f"/api/v1/{path}", token=api.admin, params={**SELECTED, **where})
    return found
