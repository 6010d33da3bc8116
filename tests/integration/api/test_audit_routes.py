"""The audit trail over HTTP: who is told of what, page by page; and `studio audit` beside it."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from broker import keys
from cli.main import main
from protocol.audit_chain import GENESIS
from tests.support.api import REQUEST, TOKENS, Api, running_api, running_site
from tests.support.processes import eventually

AUDIT = "/api/v1/audit"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A system whose audit trail these tests may spoil."""
    with running_site(tmp_path_factory.mktemp("audited"), workers=False) as (api, _):
        yield api


def records(api: Api, token: str | None = None, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ok("GET", AUDIT, token=token or api.admin, params=query)["items"]
    return found


def studio(api: Api, *arguments: str, token: str | None = None) -> Result:
    environment = {"STUDIO_URL": api.url, "STUDIO_TOKEN": token or api.admin}
    return CliRunner().invoke(main, ["audit", *arguments], env=environment)


def written_by_now(site: Api) -> None:
    """Wait until what was refused so far is in the trail: that is written some seconds later, amidst another test."""
    secret, token_id = site.make_token("agent", "*")
    assert site.call("GET", AUDIT, token=secret).status_code == 403
    eventually(lambda: records(site, actor=token_id, outcome="refused"), what="the refusal's record")


def test_an_act_can_be_found_by_who_what_when_where_and_its_outcome(site: Api) -> None:
    secret, token_id = site.make_token("operator", "shop")
    began = time.time()
    mine = site.submit("shop-01", token=secret, service_name="shop")
    assert site.call("POST", REQUEST, token=secret, json={"service_name": "else"}).status_code in {403, 422}
    eventually(lambda: records(site, actor=token_id, outcome="refused"), what="the refusal's record")
    accepted, refused = (records(site, actor=token_id, outcome=each) for each in ("accepted", "refused"))
    assert [each["objects"] for each in accepted] == [[mine["request_id"]]]
    assert (accepted[0]["action"], accepted[0]["actor_kind"], accepted[0]["hosts"]) == ("request.submit", "operator", 1)
    assert (accepted[0]["address"], accepted[0]["service_name"]) == ("127.0.0.1", "shop")
    assert [each["route"] for each in refused] == [f"POST {REQUEST}"]
    assert records(site, object=mine["request_id"]) == accepted
    assert records(site, service_name="shop", action="request.*") == accepted
    assert records(site, object=token_id, action="token.create")
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(began - 5))}Z"
    assert records(site, actor=token_id, since=moment) == refused + accepted
    assert records(site, actor=token_id, until=moment) == []
    site.check_log()


def test_pages_tell_everything_once_in_either_order(site: Api) -> None:
    for number in range(5):
        site.submit(f"paged-{number}", service_name="paged")
    for sort in ("-at", "at"):
        seen, cursor = [], None
        while True:
            query = {"limit": 2, "sort": sort, "service_name": "paged", **({"cursor": cursor} if cursor else {})}
            page = site.ok("GET", AUDIT, token=site.admin, params=query)
            seen += [each["number"] for each in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 5
        assert seen == sorted(seen, reverse=sort == "-at")


@pytest.mark.parametrize("position", [0, 2**63 - 1])
@pytest.mark.parametrize("sort", ["-at", "at"])
def test_a_cursor_at_either_end_of_time_gets_a_page(site: Api, sort: str, position: int) -> None:
    site.submit("h")  # so that there is one
    ends = base64.urlsafe_b64encode(json.dumps([sort, position, position]).encode()).decode().rstrip("=")
    page = site.ok("GET", AUDIT, token=site.admin, params={"sort": sort, "cursor": ends})
    lies_before_it = (sort == "at") == (position == 0)
    assert bool(page["items"]) is lies_before_it


def test_a_token_is_told_of_its_services_and_one_of_all_of_everything(site: Api) -> None:
    narrow, _ = site.make_token("viewer", "alpha")
    auditor, _ = site.make_token("viewer", "*")
    for service in ("alpha", "beta"):
        site.submit("h", service_name=service)
    assert {each["service_name"] for each in records(site, narrow)} == {"alpha"}
    assert {None, "alpha", "beta"} <= {each["service_name"] for each in records(site, auditor, limit=1_000)}
    assert records(site, auditor, limit=1_000)[0] == records(site, limit=1)[0]
    for kind in ("agent", "operator"):
        secret, _ = site.make_token(kind, "*")
        assert site.call("GET", AUDIT, token=secret).status_code == 403
        assert site.call("GET", f"{AUDIT}/chain", token=secret).status_code == 403
    assert site.call("GET", f"{AUDIT}/chain", token=narrow).status_code == 403
    assert site.call("GET", f"{AUDIT}/chain", token=auditor).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [("cursor", "x"), ("limit", "0"), ("sort", "up"), ("since", "yesterday"), ("outcome", "odd"), ("actor", "")],
)
def test_a_bad_filter_is_refused_and_named(site: Api, field: str, value: str) -> None:
    answer = site.call("GET", AUDIT, token=site.admin, params={field: value})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


def test_a_time_before_all_times_is_no_fault(site: Api) -> None:
    site.submit("any-time", service_name="timeless")
    assert records(site, until="0001-01-01T00:00:00Z") == []
    assert records(site, since="0001-01-01T00:00:00Z", sort="at")


def test_refusals_are_written_on_the_way_down_and_a_trusted_proxy_is_believed(site: Api) -> None:
    env = {"PCS_TRUSTED_PROXIES": "127.0.0.0/8"}
    with running_api(site.state_dir, env=env, log="proxied.log") as proxied:
        for _ in range(3):
            answer = proxied.call("GET", TOKENS, token=None, headers={"X-Forwarded-For": "10.1.1.1, 203.0.113.9"})
            assert answer.status_code == 401
    found = [each for each in records(site, action="call", outcome="refused") if each["address"] == "203.0.113.9"]
    assert sum(each["count"] for each in found) == 3, "all were written before the process ended"
    assert {(each["code"], each["actor"], each["route"]) for each in found} == {
        ("unauthenticated", None, f"GET {TOKENS}")
    }  # fmt: skip


# --- by command -------------------------------------------------------------------------------------------------------


def test_the_chain_is_verified_noted_followed_and_exported_by_command(site: Api, tmp_path: Path) -> None:
    site.make_token("viewer", "*")  # the test that spoils the trail may have come before
    site.submit("by-command", service_name="commanded")
    note = str(tmp_path / "note.json")
    whole = studio(site, "verify", "--json", "--note", note)
    assert whole.exit_code == 0, whole.output
    verdict = json.loads(whole.stdout)
    assert (verdict["ok"], verdict["begins"], verdict["unreadable"]) == (True, 0, 0)
    assert studio(site, "verify", "--note", note).stdout.startswith(f"whole: chain {verdict['partition']}, ")
    (line,) = studio(site, "tail", "--service", "commanded", "-n", "1").stdout.splitlines()
    assert "accepted  request.submit  by admin" in line
    out = tmp_path / "out.jsonl"
    assert studio(site, "export", "--out", str(out), "--action", "token.*").exit_code == 0
    exported = [json.loads(each) for each in out.read_text().splitlines()]
    assert [each["number"] for each in exported] == sorted(each["number"] for each in exported)
    assert {each["action"] for each in exported} == {"token.create"}
    (tmp_path / "bad.json").write_text("[]")
    assert studio(site, "verify", "--note", str(tmp_path / "bad.json")).exit_code == 2
    nowhere = studio(site, "verify", "--note", str(tmp_path / "no" / "note.json"))
    assert nowhere.exit_code == 2
    assert nowhere.stdout.startswith("whole: "), "what was found is told all the same"
    assert "note.json cannot be written: No such file or directory" in nowhere.stderr


def test_a_record_that_was_changed_in_the_broker_is_named_and_the_list_goes_on(site: Api, tmp_path: Path) -> None:
    """Spoils the trail; the others find a new one."""
    written_by_now(site)
    for number in range(3):
        site.submit(f"spoilt-{number}", service_name="spoilt")
    note = str(tmp_path / "note.json")
    verdict = json.loads(studio(site, "verify", "--json", "--note", note).stdout)
    at = verdict["partition"]
    with redis.Redis.from_url(site.settings.url, decode_responses=True) as client:
        entries: Any = client.xrevrange(keys.audit(at), count=2)
        for entry_id, _ in entries:
            client.xdel(keys.audit(at), entry_id)
        for _, fields in reversed(entries):
            client.xadd(keys.audit(at), {**fields, "actor": "nobody"})
        told = studio(site, "verify")
        assert (told.exit_code, "BROKEN at record" in told.stdout) == (1, True)
        assert json.loads(studio(site, "verify", "--json").stdout)["broken"] == verdict["ends"] - 1

        # All of it hashed anew, ends included: nothing in the broker tells, the note does.
        client.delete(keys.audit(at), keys.audit_chain(at))
        site.submit("anew", service_name="spoilt")
        assert records(site)[0]["number"] == 1
        assert studio(site, "verify").exit_code == 0
        missed = studio(site, "verify", "--note", note)
        assert missed.exit_code == 1
        assert f"record {verdict['ends']} was seen once" in missed.stdout
        client.xadd(keys.audit(at), {"number": "2", "hash": GENESIS})
        assert len(records(site)) == 1, "what is no record is passed over"
        assert studio(site, "verify").exit_code == 1
        client.delete(keys.audit(at), keys.audit_chain(at))
