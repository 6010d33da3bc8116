"""`PCS_WEBHOOKS`: read from text or file, and refused in words that tell no address."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.lifecycle import OUTCOMES
from workers.webhooks import BadWebhooks, read_webhooks

SECRET = "https://hooks.example/T0/B0/s3cr3t"


def listed(*hooks: dict[str, Any]) -> str:
    return json.dumps([{"name": "ops", "url": SECRET, **hook} for hook in hooks])


def test_a_hook_is_told_of_every_outcome_of_every_service_unless_it_says_otherwise() -> None:
    (hook,) = read_webhooks(listed({}))
    assert (hook.shape, hook.events, hook.per_host, hook.secret) == ("json", OUTCOMES, False, None)
    assert hook.wants("default", "any/thing")
    assert not hook.wants("other", "any/thing")


def test_patterns_choose_the_services() -> None:
    (hook,) = read_webhooks(listed({"services": ["web-*", "db"], "events": ["failed"]}))
    assert [hook.wants("default", name) for name in ("web-1", "db", "db2", "Web-1")] == [True, True, False, False]


def test_a_path_is_read(tmp_path: Path) -> None:
    file = tmp_path / "hooks.json"
    file.write_text(listed({}, {"name": "dev", "shape": "slack"}))
    assert [hook.name for hook in read_webhooks(str(file))] == ["ops", "dev"]
    assert read_webhooks("  ") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[{]", ["neither a JSON list"]),
        ("/no/such/file", ["cannot be read"]),
        ('[{"name": "ops"}]', ["0.url"]),
        (listed({"url": "ftp://s3cr3t/x"}), ["0.url", "http or https"]),
        (listed({"shape": "xml", "events": ["running"], "colour": 1}), ["0.shape", "0.events", "0.colour"]),
        (listed({"name": "No Name!"}), ["0.name"]),
        (listed({}, {}), ["ops", "given once"]),
    ],
)
def test_what_cannot_be_used_is_told_field_by_field_without_its_values(given: str, words: list[str]) -> None:
    with pytest.raises(BadWebhooks) as caught:
        read_webhooks(given)
    for word in words:
        assert word in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_secrets_are_in_no_representation() -> None:
    hooks = read_webhooks(listed({"secret": "hmac-key"}))
    assert "s3cr3t" not in repr(hooks)
    assert "hmac-key" not in repr(hooks)
