"""`GET /api/v1/roles` and /readyz: each worker is a row, and those that are expected are missed."""

from pathlib import Path
from typing import Any

from broker.settings import BrokerSettings
from tests.support.api import Api, running_api
from tests.support.processes import LOOPED_ROLES, broker_role, eventually, started, worker_role
from tests.support.servers import wait_for_broker


def test_every_instance_of_every_role_is_a_row(served: Api) -> None:
    accepted = served.submit("measured-01")
    served.wait_for(accepted["request_id"], "pending")
    with started(worker_role(served.state_dir, "merger", "projector")):

        def two_of_each() -> bool:
            present = [row["role"] for row in rows(served) if row["present"]]
            return present.count("merger") == present.count("projector") == 2

        eventually(two_of_each, within=60, what="signing in")
        eventually(lambda: any(row["items"] for row in rows(served) if row["role"] == "merger"), what="what it did")
    by_role = {row["role"]: row for row in rows(served)}
    assert set(by_role) >= {*LOOPED_ROLES, "jobs"}
    for role in LOOPED_ROLES:
        row = by_role[role]
        assert row["passes"] > 0
        assert row["behind"] >= 0
        assert row["oldest_seconds"] >= 0
        assert row["items_per_second"] >= 0
        assert 0 <= row["last_pass_seconds"] < 15
        assert 0 <= row["last_pass_age"] < 30
    assert by_role["jobs"]["behind"] == 0


def rows(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok("GET", "/api/v1/roles", token=api.admin)["items"]
    return found


def test_a_role_is_missed_only_where_it_is_expected(tmp_path: Path) -> None:
    with started(broker_role(tmp_path)):
        wait_for_broker(BrokerSettings(state_dir=tmp_path))
        with running_api(tmp_path, env={"PCS_EXPECTED_ROLES": "archiver"}) as api:
            checks = api.http.get("/readyz").json()["checks"]
            assert checks["archiver"] == {"ok": False, "detail": "0 at work"}
            assert "notifier" not in checks
            with started(worker_role(tmp_path, "archiver")) as role:
                eventually(
                    lambda: api.http.get("/readyz").json()["checks"]["archiver"]["ok"], within=60, what="signing in"
                )
                assert role.stop() == 0
            assert (tmp_path / "archive").exists() is False, "an idle archiver writes nothing"
