"""The notifier: webhooks are told once of each outcome, and one that is down holds up nobody."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from broker import keys
from broker.connection import Broker
from broker.dead_letters import DeadLetter, DeadLetters, Kind
from broker.lag import Lag
from broker.outbox import NOTIFIERS, Outbox
from broker.request_log import RequestLog
from broker.request_store import RequestStore
from broker.results import Results
from protocol.names import HostKey
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from tests.support.processes import eventually, free_port, started, worker_role
from tests.support.webhook_receiver import Receiver, receiving
from workers import notifier as notifier_module
from workers.notifications import ID, SIGNATURE
from workers.notifier import Router, Sender
from workers.webhook_client import WebhookClient
from workers.webhooks import Webhook

SHORT = timedelta(milliseconds=30)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier_module, "BLOCK", SHORT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as other_end:
        yield other_end


@pytest.fixture
async def client() -> AsyncIterator[WebhookClient]:
    async with WebhookClient(
        first_wait_s=0.01, timeout=timedelta(seconds=20)
    ) as made:  # both ends are on a busy machine
        yield made


def a_hook(receiver: Receiver, name: str = "ops", **given: Any) -> Webhook:
    return Webhook.model_validate({"name": name, "url": receiver.url, **given})


async def a_router(broker: Broker, *hooks: Webhook, consumer: str = "n") -> Router:
    reader = Results(broker).reader(NOTIFIERS, consumer, since="$")
    await reader.prepare()
    return Router(hooks, Outbox(broker), RequestStore(broker), reader)


def a_sender(broker: Broker, hook: Webhook, client: WebhookClient, consumer: str = "n") -> Sender:
    outbox = Outbox(broker)
    return Sender(hook, outbox, outbox.reader(hook.name, consumer), client)


async def ends(host: PlayedHost, command_id: str, **said: Any) -> None:
    """The host takes what is there for it, runs it, and it ends."""
    await host.settle()
    await host.begin()
    await host.complete(command_id, **said)


async def letters(broker: Broker) -> list[DeadLetter]:
    found = DeadLetters(broker, RequestStore(broker), RequestLog(broker)).all_of()
    return [letter async for letter in found]


async def test_a_hook_is_told_once_when_a_request_has_ended_everywhere(
    broker: Broker, receiver: Receiver, client: WebhookClient
) -> None:
    hook = a_hook(receiver, secret="key")
    router, sender = await a_router(broker, hook), a_sender(broker, hook, client)
    one, two = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    record = await one.submit(target_hostnames=["web-01", "web-02"])
    await ends(one, record.command_id)
    assert await router.route() == 0, "the other host is not done"
    await ends(two, record.command_id, status="failed", error_message="no perf")
    assert await router.route() == 1
    assert await sender.send() == 1
    assert await sender.send() == await router.route() == 0
    ((headers, _),) = receiver.calls
    (told,) = receiver.bodies
    assert (told["event"], told["request_id"], told["status"]) == ("request_ended", record.request_id, "mixed")
    assert told["counts"] == {"completed": 1, "failed": 1}
    assert headers[SIGNATURE].startswith("sha256=")
    assert headers[ID] == told["id"]
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.outbox("ops")) == 0
        for key in (
            keys.request_ended(record.request_id),
            keys.request_notified(record.request_id),
            keys.outbox("ops"),
        ):
            assert await redis.ttl(key) > 604_000


async def test_a_hook_hears_of_the_hosts_events_and_services_that_it_asked_for(
    broker: Broker, receiver: Receiver
) -> None:
    hooks = [
        a_hook(receiver, "each", per_host=True), a_hook(receiver, "failures", events=["failed"]),
        a_hook(receiver, "foreign", tenant="other"), a_hook(receiver, "dbs", services=["db*"]),
    ]  # fmt: skip
    router = await a_router(broker, *hooks)
    one, two = PlayedHost(broker), PlayedHost(broker, a_host("web-02"))
    record = await one.submit(target_hostnames=["web-01", "web-02"])
    for host in (one, two):
        await ends(host, record.command_id)
    assert await router.route() == 2
    of_db = PlayedHost(broker, a_host("db-01", "db1"))
    await ends(of_db, (await of_db.submit()).command_id, status="failed")
    assert await router.route() == 3
    async with broker.guarded() as redis:
        lengths = {hook.name: await redis.xlen(keys.outbox(hook.name)) for hook in hooks}
    assert lengths == {"each": 3, "failures": 1, "foreign": 0, "dbs": 1}


async def test_what_ended_before_anybody_was_to_be_told_is_not_told(broker: Broker, receiver: Receiver) -> None:
    host = PlayedHost(broker)
    await ends(host, (await host.submit()).command_id)
    router = await a_router(broker, a_hook(receiver))
    assert await router.route() == 0


async def test_a_router_that_died_is_followed_by_one_that_tells_once(
    broker: Broker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, host = a_hook(receiver), PlayedHost(broker)
    router = await a_router(broker, hook, consumer="dead")
    await ends(host, (await host.submit()).command_id)

    async def crash(*_: object, **__: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(router._reader, "ack", crash)
    with pytest.raises(ConnectionResetError):
        await router.route()
    monkeypatch.setattr(notifier_module, "TAKE_OVER_AFTER", timedelta(0))
    assert await (await a_router(broker, hook, consumer="heir")).route() == 0, "its notification is there already"
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.outbox("ops")) == 1


@pytest.mark.parametrize("answers", [[503], [500, 429]])
async def test_a_hook_that_stumbles_is_asked_again_at_once(
    broker: Broker, receiver: Receiver, client: WebhookClient, answers: list[int]
) -> None:
    hook, host = a_hook(receiver), PlayedHost(broker)
    router = await a_router(broker, hook)
    await ends(host, (await host.submit()).command_id)
    await router.route()
    receiver.answers = list(answers)
    assert await a_sender(broker, hook, client).send() == 1
    assert len(receiver.calls) == len(answers) + 1
    assert len({body["id"] for body in receiver.bodies}) == 1


async def test_a_hook_that_is_down_keeps_its_own_and_holds_up_no_other(
    broker: Broker, receiver: Receiver, client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Receiver(f"http://127.0.0.1:{free_port()}/hook/s3cr3t-path")
    down, up = a_hook(gone, "down"), a_hook(receiver, "up")
    router = await a_router(broker, down, up)
    hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(3)]
    for host in hosts:
        await ends(host, (await host.submit()).command_id)
    assert await router.route() == 6
    to_down, to_up = a_sender(broker, down, client), a_sender(broker, up, client)
    assert await to_up.send() == 3
    assert await to_down.send() == 0
    assert await Results(broker).reader(NOTIFIERS, "n").lag() == Lag(), "the stream is not held up"
    monkeypatch.setattr(notifier_module, "TAKE_OVER_AFTER", timedelta(0))
    assert await to_down.send() == 0
    assert await letters(broker) == []
    monkeypatch.setattr(notifier_module, "GIVE_UP_AFTER", timedelta(0))
    assert await to_down.send() == 0
    parked = await letters(broker)
    assert [(letter.kind, letter.reason) for letter in parked] == [(Kind.NOTIFICATION, "not taken within 0 s")] * 3
    assert {letter.host for letter in parked} == {HostKey("default", "web", "")}
    assert gone.url not in str(parked)
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.outbox("down")) == 0


@pytest.mark.parametrize("status", [400, 404, 410, 307])
async def test_what_a_hook_will_never_take_is_a_dead_letter_at_once_and_can_be_replayed(
    broker: Broker, receiver: Receiver, client: WebhookClient, status: int
) -> None:
    hook, host = a_hook(receiver), PlayedHost(broker)
    router, sender = await a_router(broker, hook), a_sender(broker, hook, client)
    record = await host.submit()
    await ends(host, record.command_id)
    await router.route()
    receiver.status = status
    assert await sender.send() == 0
    assert len(receiver.calls) == 1, "neither tried again nor sent after a redirect"
    (letter,) = await letters(broker)
    assert (letter.reason, letter.request_ids) == (f"answered {status}", (record.request_id,))
    receiver.status = 204
    store = DeadLetters(broker, RequestStore(broker), RequestLog(broker))
    answers = await asyncio.gather(*(store.replay(letter, by="t", now=time.time()) for _ in range(3)))
    assert len(set(answers)) == 1
    assert await letters(broker) == []
    assert await sender.send() >= 1
    assert len({body["id"] for body in receiver.bodies}) == 1, "the same id, for a receiver that has seen it"


async def test_a_hook_that_answers_too_late_was_not_told(
    broker: Broker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, host = a_hook(receiver), PlayedHost(broker)
    router = await a_router(broker, hook)
    await ends(host, (await host.submit()).command_id)
    await router.route()
    async with WebhookClient(first_wait_s=0.01, timeout=timedelta(microseconds=1)) as impatient:
        assert await a_sender(broker, hook, impatient).send() == 0
    assert await Outbox(broker).reader("ops", "n").lag(only_held=True) != Lag()


async def test_the_role_tells_and_no_log_tells_its_address(broker: Broker, receiver: Receiver) -> None:
    hooks = json.dumps([{"name": "ops", "url": receiver.url, "secret": "hmac-key"}])
    with started(worker_role(broker.settings.state_dir, "notifier", env={"PCS_WEBHOOKS": hooks})) as role:
        await asyncio.to_thread(eventually, lambda: "roles at work" in role.log.read_text(), within=40, of=role)
        host = PlayedHost(broker)
        deadline = time.monotonic() + 20
        while not receiver.calls and time.monotonic() < deadline:
            await ends(host, (await host.submit()).command_id)
            await asyncio.sleep(0.3)
        assert receiver.calls, role.log.read_text()
        receiver.status = 410
        await ends(host, (await host.submit()).command_id)
        await asyncio.to_thread(eventually, lambda: "given up" in role.log.read_text(), within=20, of=role)
        assert role.stop() == 0
    said = role.log.read_text()
    assert "s3cr3t-path" not in said
    assert "hmac-key" not in said
