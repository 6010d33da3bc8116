"""`/api/v1/dead_letters`: operators see and replay what their token covers."""

import time
from collections.abc import Iterator

import pytest
import redis

from broker import keys
from broker.scripts import MOST_ATTEMPTS
from protocol.names import HostKey
from tests.support.api import Api, PlayedAgent
from tests.support.refusals import check_problem

PATH = "/api/v1/dead_letters"


@pytest.fixture
def service(served: Api) -> Iterator[str]:
    """A service that no other test knows."""
    yield f"lettered-{time.time_ns()}"
    served.check_log()


def park(api: Api, path: str, partition: int = 0) -> str:
    """A doorbell's letter, put there by hand; gives its id."""
    fields = {"kind": "doorbell", "host": path, "reason": "broken", "attempts": "11", "at": "1000"}
    with redis.Redis.from_url(api.settings.url, decode_responses=True) as client:
        return f"{partition}-{client.xadd(keys.dead_letters(partition), fields)}"


def test_an_undeliverable_command_is_listed_and_replayed_as_a_new_request(served: Api, service: str) -> None:
    agent = PlayedAgent(served, "deaf-01", service=service)
    accepted = served.submit(agent.host, service_name=service, duration=42)
    agent.take()
    for _ in range(MOST_ATTEMPTS):
        agent.beat()
    served.wait_for(accepted["request_id"], "undeliverable")
    operator, _ = served.make_token("operator", service)
    (letter,) = served.ok("GET", PATH, token=operator)["items"]
    assert letter == letter | {
        "kind": "command", "service_name": service, "hostname": "deaf-01", "attempts": MOST_ATTEMPTS,
        "reason": f"handed out {MOST_ATTEMPTS} times without an ack", "command_id": accepted["command_id"],
        "request_ids": [accepted["request_id"]],
    }  # fmt: skip
    done = served.ok("POST", f"{PATH}/{letter['id']}/replay", token=operator)
    assert (done["id"], done["kind"]) == (letter["id"], "command")
    assert done["request_id"] != accepted["request_id"]
    assert served.ok("POST", f"{PATH}/{letter['id']}/replay", token=operator) == done
    assert served.ok("GET", PATH, token=operator) == {"items": [], "next_cursor": None}
    taken = agent.run()
    assert taken["command_id"] == done["command_id"]
    assert taken["profiling_command"]["combined_config"]["duration"] == 42
    served.wait_for(done["request_id"], "completed")


def test_a_token_sees_and_replays_what_it_covers(served: Api, service: str) -> None:
    ours = park(served, HostKey("default", service, "h").path)
    nobodys = park(served, f"{service}/no-host")
    of_another_tenant = park(served, HostKey("other", service, "h").path)
    tokens = {kind: served.make_token(kind, service)[0] for kind in ("operator", "viewer", "admin")}
    for kind, token in tokens.items():
        assert [item["id"] for item in served.ok("GET", PATH, token=token)["items"]] == [ours], kind
    stranger, _ = served.make_token("operator", "another")
    assert served.ok("GET", PATH, token=stranger)["items"] == []
    seen = {item["id"]: item for item in served.ok("GET", PATH, token=served.admin, params={"limit": 1000})["items"]}
    assert {ours, nobodys} <= set(seen)
    assert of_another_tenant not in seen
    assert (seen[nobodys]["hostname"], seen[nobodys]["service_name"]) == (None, None)
    for token, letter in ((stranger, ours), (tokens["admin"], nobodys), (served.admin, of_another_tenant)):
        check_problem(
            served.call("POST", f"{PATH}/{letter}/replay", token=token), code="not_found", fields=["letter_id"]
        )
    assert served.ok("POST", f"{PATH}/{ours}/replay", token=tokens["operator"])["request_id"] is None
    refused = served.call("POST", f"{PATH}/{ours}/replay", token=stranger)
    check_problem(refused, code="not_found", fields=["letter_id"])  # nor is it told what somebody else's replay did


def test_letters_come_in_pages(served: Api, service: str) -> None:
    path = HostKey("default", service, "h").path
    parked = [park(served, path, partition) for partition in (1, 1, 1, 4, 15)]
    operator, _ = served.make_token("operator", service)
    seen: list[str] = []
    cursor: str | None = None
    for size in (2, 2, 1):
        page = served.ok("GET", PATH, token=operator, params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        assert len(page["items"]) == size
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (parked, None)


@pytest.mark.parametrize("wrong", ["x", "0-1", "0-1-1-1", "-1-1-1", "0-1-x", "99999-1-1"])
def test_an_id_or_a_cursor_that_is_none_is_refused(served: Api, wrong: str) -> None:
    check_problem(
        served.call("POST", f"{PATH}/{wrong}/replay", token=served.admin), code="invalid", fields=["letter_id"]
    )
    answer = served.call("GET", PATH, token=served.admin, params={"cursor": wrong, "limit": 0})
    check_problem(answer, code="invalid", fields=["cursor", "limit"])


def test_a_letter_that_never_was_is_not_found(served: Api) -> None:
    for letter in ("0-1-1", "9999-1-1"):
        answer = served.call("POST", f"{PATH}/{letter}/replay", token=served.admin)
        check_problem(answer, code="not_found", fields=["letter_id"])
