"""A real broker for tests, and looking at what is in it."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import redis

from broker.connection import Broker
from broker.keys import roles, tokens_used
from broker.settings import BrokerSettings
from tests.support.processes import Role, broker_role, eventually, started

AUDITED = re.compile(r"pcs:\{\d+\}:audit(_chain)?")
COUNTED = re.compile(r"pcs:\{l:[^}]+\}:(window|before)")
"""How often somebody called: that is counted before anything is decided."""
TOLD = re.compile(r"pcs:\{\d+\}:conflict:.*", re.DOTALL)
"""That the events of a conflict were told: it goes by itself after ten minutes, whatever a test does just then."""


@contextlib.contextmanager
def running_broker(state_dir: Path) -> Iterator[BrokerSettings]:
    """A real server on its own data, until the end of the block."""
    settings = BrokerSettings(state_dir=state_dir)
    with started(broker_role(state_dir)) as role:
        wait_for_broker(settings, of=role)
        yield settings


def wait_for_broker(settings: BrokerSettings, *, within: float = 40.0, of: Role | None = None) -> None:
    """Wait until the server answers; `of` is its process, where a test has it in hand."""
    eventually(lambda: answers(settings), within=within, what="the broker's first answer", of=of)


def answers(settings: BrokerSettings) -> bool:
    """Whether the server can be asked."""
    with contextlib.suppress(redis.exceptions.ConnectionError), redis.Redis.from_url(settings.url) as client:
        return bool(client.ping())
    return False


@contextlib.asynccontextmanager
async def emptied(settings: BrokerSettings) -> AsyncIterator[Broker]:
    """A connection to a server with nothing in it."""
    async with Broker.opened(settings) as broker:
        async with broker.guarded() as client:
            await client.flushall()
        await broker.settle_layout()
        yield broker


def everything_in(settings: BrokerSettings) -> dict[str, bytes | None]:
    """Every key with its whole value, as the server would dump it: for "not one key changed".

    But for the roster and the last use of tokens, which every process at work writes now and then, whatever is asked;
    for the audit trail: a refusal changes nothing and is recorded all the same, some seconds later; and for what goes
    by itself soon.
    """
    aside = {roles(), tokens_used()}
    with redis.Redis.from_url(settings.url) as client, client.pipeline(transaction=False) as pipe:
        keys: list[bytes] = sorted(
            key
            for key in client.scan_iter(count=1000)
            if not any(pattern.fullmatch(key.decode()) for pattern in (AUDITED, COUNTED, TOLD))
            and key.decode() not in aside
        )
        for key in keys:
            pipe.dump(key)
        return {key.decode(): value for key, value in zip(keys, pipe.execute(), strict=True)}
