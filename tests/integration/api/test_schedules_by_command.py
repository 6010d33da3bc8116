"""`studio schedules`: the same over HTTP, from a terminal."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.main import main
from tests.support.api import Api


def studio(api: Api, *arguments: str, token: str | None = None) -> Result:
    environment = {"STUDIO_URL": api.url, "STUDIO_TOKEN": token or api.admin}
    return CliRunner().invoke(main, ["schedules", *arguments], env=environment)


def test_a_schedule_from_its_making_to_its_end(bare_api: Api) -> None:
    wish = ("--name", "by command", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
    target = ("--service", "commanded", "--host", "a", "--host", "b", "--duration", "30")
    planned = studio(bare_api, "create", *wish, *target, "--dry-run")
    assert (planned.exit_code, planned.stdout.count("fires 20")) == (0, 5), planned.output
    made = studio(bare_api, "create", *wish, *target, "--json")
    assert made.exit_code == 0, made.output
    body = json.loads(made.stdout)
    schedule_id = body["id"]
    assert body["request"]["target_hostnames"] == ["a", "b"]
    assert schedule_id in studio(bare_api, "list").stdout
    assert [row["id"] for row in json.loads(studio(bare_api, "list", "--json").stdout)].count(schedule_id) == 1
    assert "state    paused" in studio(bare_api, "pause", schedule_id).stdout
    assert "state    active" in studio(bare_api, "resume", schedule_id).stdout
    assert "30 2 * * * (Europe/Berlin)" in studio(bare_api, "show", schedule_id).stdout
    assert studio(bare_api, "delete", schedule_id).stdout == f"deleted {schedule_id} (by command)\n"
    gone = studio(bare_api, "show", schedule_id)
    assert (gone.exit_code, gone.stdout) == (2, "")
    assert "404 not_found" in gone.stderr


def test_a_change_keeps_what_is_not_said(bare_api: Api) -> None:
    target = ("--service", "changed", "--host", "a", "--pid", "7", "--frequency", "49", "--arg", "team=shop")
    made = json.loads(studio(bare_api, "create", "--name", "n", "--cron", "30 2 * * *", *target, "--json").stdout)
    schedule_id, request = made["id"], made["request"]

    def changed(*words: str) -> dict[str, Any]:
        done = studio(bare_api, "change", schedule_id, *words, "--json")
        assert done.exit_code == 0, done.output
        body: dict[str, Any] = json.loads(done.stdout)
        return body

    assert changed("--duration", "2m", "--catch-up", "1h")["request"] == request | {"duration": 120}
    planned = changed("--cron", "0 4 * * *", "--dry-run")
    assert len(planned["next_firings"]) == 5
    whole = changed("--all", "--pause-after", "0", "--paused")
    facts = (whole["cron"], whole["catch_up"], whole["pause_after"], whole["state"])
    assert facts == ("30 2 * * *", 3_600, 0, "paused")
    kept = {name: request[name] for name in ("service_name", "command_type", "frequency", "additional_args")}
    assert whole["request"] == {**kept, "duration": 120, "target_scope": "service"}
    assert kept["additional_args"] == {"team": "shop"}
    assert "pauses   never" in studio(bare_api, "show", schedule_id).stdout
    unsaid = studio(bare_api, "change", schedule_id)
    assert (unsaid.exit_code, "says nothing to change" in unsaid.stderr) == (2, True)
    assert studio(bare_api, "delete", schedule_id).exit_code == 0


def test_every_field_at_fault_is_shown(bare_api: Api) -> None:
    refused = studio(bare_api, "create", "--name", "n", "--cron", "0 0 31 2 *", "--service", "web")
    assert refused.exit_code == 2
    assert "\n  cron: " in refused.stderr
    assert "\n  request.target_hostnames: " in refused.stderr


def test_a_request_may_come_from_a_file(bare_api: Api, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text('{"service_name": "web", "target_scope": "service", "additional_args": {"k": 1}}')
    wish = ("create", "--name", "n", "--cron", "0 * * * *", "--request", str(path), "--json")
    assert json.loads(studio(bare_api, *wish).stdout)["request"]["additional_args"] == {"k": 1}
    assert studio(bare_api, *wish, "--service", "db").exit_code == 2
    path.write_text("{")
    assert studio(bare_api, *wish).exit_code == 2


def test_a_token_that_nobody_gave_is_refused_and_not_shown(bare_api: Api) -> None:
    refused = studio(bare_api, "list", token="pcs_never-given-to-anybody")
    assert refused.exit_code == 3
    assert "pcs_" not in refused.output
