"""What a webhook is told, in each shape, and how it is signed."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from workers.notifications import ID, SIGNATURE, TIMESTAMP, Notification, identify, message, plain, slack, status_of


def a_notification(**given: Any) -> Notification:
    fields = {
        "notification_id": "n1", "tenant": "default", "service": "shop", "request_id": "r1", "command_type": "start",
        "status": "mixed", "counts": {"completed": 2, "failed": 1}, "accepted_at": 1_800_000_000.0,
        "ended_at": 1_800_000_060.5,
    }  # fmt: skip
    return Notification(**{**fields, **given})


def test_the_plain_shape_is_this() -> None:
    assert plain(a_notification()) == {
        "v": 1, "id": "n1", "event": "request_ended", "request_id": "r1", "service_name": "shop",
        "command_type": "start", "status": "mixed", "counts": {"completed": 2, "failed": 1}, "hosts": 3,
        "accepted_at": "2027-01-15T08:00:00.000+00:00", "ended_at": "2027-01-15T08:01:00.500+00:00",
    }  # fmt: skip
    of_host = plain(a_notification(hostname="web-01", status="failed", counts={"failed": 1}, reason="x" * 999))
    assert (of_host["event"], of_host["hostname"], of_host["hosts"]) == ("request_ended_on_host", "web-01", 1)
    assert of_host["reason"] == "x" * 300


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "mixed: start of shop on 3 hosts (2 completed, 1 failed) — request r1"),
        ({"status": "completed", "counts": {"completed": 1}}, "completed: start of shop on 1 host — request r1"),
        (
            {"status": "failed", "counts": {"failed": 1}, "hostname": "web-01", "reason": "no perf"},
            "failed: start of shop on web-01: no perf — request r1",
        ),
        (
            {"service": "<!channel> & <http://evil|x>", "status": "completed", "counts": {"completed": 1}},
            "completed: start of &lt;!channel&gt; &amp; &lt;http://evil|x&gt; on 1 host — request r1",
        ),
    ],
)
def test_the_slack_shape_is_a_line_in_which_nothing_is_a_link(given: dict[str, Any], text: str) -> None:
    assert slack(a_notification(**given)) == {"text": text}


def test_a_signature_is_over_the_time_and_the_body() -> None:
    sent = message(a_notification(), shape="json", secret="key", now=1_700_000_000.9)
    assert sent.headers[TIMESTAMP] == "1700000000"
    expected = hmac.new(b"key", b"1700000000." + sent.body, hashlib.sha256).hexdigest()
    assert sent.headers[SIGNATURE] == f"sha256={expected}"
    assert sent.headers[ID] == "n1"
    assert json.loads(sent.body) == plain(a_notification())


def test_without_a_secret_nothing_is_signed() -> None:
    headers = message(a_notification(), shape="slack", secret=None, now=0).headers
    assert not {SIGNATURE, TIMESTAMP} & set(headers)


def test_lone_surrogates_do_not_break_a_body() -> None:
    json.loads(message(a_notification(reason="\ud800"), shape="json", secret="k", now=0).body)


def test_a_notification_survives_the_outbox() -> None:
    told = a_notification(hostname="h", reason="r")
    assert Notification.read(told.as_json()) == told


def test_the_same_thing_told_to_the_same_hook_has_the_same_id() -> None:
    assert identify("hook", "r1", "") == identify("hook", "r1", "")
    others = [("hook", "r1", ""), ("hook2", "r1", ""), ("hook", "r1", "h"), ("hook", "r1h", "")]
    assert len({identify(*parts) for parts in others}) == 4


def test_hosts_that_ended_differently_are_mixed() -> None:
    assert status_of({"failed": 3}) == "failed"
    assert status_of({"failed": 3, "completed": 1}) == "mixed"
