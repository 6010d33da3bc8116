"""`python -m broker.tenants`: making tenants. Whoever can run it has the broker: no route makes a tenant.

A tenant begins with one admin's token, whose secret is the only line on stdout, this once.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.errors import BrokerError, BrokerUnavailable
from broker.settings import BrokerSettings
from broker.token_store import TokenKind, TokenStore, new_secret
from protocol.names import DEFAULT_TENANT

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Tenants:
    """The tenants of one system."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def add(self, name: str) -> bool:
        """Make a tenant; False where there is one of that name.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if name == DEFAULT_TENANT:
            return False
        async with self._broker.guarded() as redis:
            return bool(await redis.hsetnx(keys.tenants(), name, datetime.now(UTC).isoformat()))

    async def all(self) -> dict[str, str | None]:
        """Each tenant and when it was made (ISO 8601); the default one was always there.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            made: dict[str, str] = await redis.hgetall(keys.tenants())
        by_age = sorted(made, key=lambda name: made[name])
        return {DEFAULT_TENANT: None} | {name: made[name] for name in by_age}


async def create(broker: Broker, name: str) -> int:
    """Make a tenant and its first token."""
    if not await Tenants(broker).add(name):
        print(f"tenants: there is a tenant {name} already", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    return await _tell_admin(broker, name)


async def admin(broker: Broker, name: str) -> int:
    """Make another admin's token of a tenant: for whoever has lost every one."""
    if name not in await Tenants(broker).all():
        print(f"tenants: there is no tenant {name}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    return await _tell_admin(broker, name)


async def list_all(broker: Broker, as_json: bool) -> int:
    """Say which tenants there are."""
    tenants = await Tenants(broker).all()
    if as_json:
        print(json.dumps([{"name": name, "created_at": at} for name, at in tenants.items()]))  # noqa: T201 - likewise
        return 0
    for name, at in tenants.items():
        print(f"{name:32}  {at or '-'}".rstrip())  # noqa: T201 - likewise
    return 0


async def _tell_admin(broker: Broker, name: str) -> int:
    secret = new_secret()
    token = await TokenStore(broker).add(
        secret, kind=TokenKind.ADMIN, tenant=name, services=("*",), name="first admin", description="made by tenants"
    )
    print(f"tenants: admin {token.token_id} of tenant {name}; it is shown this once:", file=sys.stderr)  # noqa: T201
    print(secret)  # noqa: T201 - the one place where it is told
    return 0


async def _with_broker(work: Callable[[Broker], Awaitable[int]]) -> int:
    async with Broker.opened(BrokerSettings()) as broker:
        await broker.settle_layout()
        return await work(broker)


def _a_name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError("1 to 63 small letters, digits and dashes, a dash not first")
    return text


def main() -> None:
    """Parse and carry out. Exit codes: 0 done, 1 it is there or is not, 2 usage, 3 the broker cannot be reached."""
    parser = argparse.ArgumentParser(prog="python -m broker.tenants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in (("create", "make a tenant"), ("admin", "make another admin's token of a tenant")):
        commands.add_parser(name, help=told).add_argument("name", type=_a_name)
    commands.add_parser("list", help="list the tenants").add_argument("--json", action="store_true")
    given = parser.parse_args()
    works: dict[str, Callable[[Broker], Awaitable[int]]] = {
        "create": lambda broker: create(broker, given.name),
        "admin": lambda broker: admin(broker, given.name),
        "list": lambda broker: list_all(broker, given.json),
    }
    try:
        code = asyncio.run(_with_broker(works[given.command]))
    except BrokerUnavailable as error:
        print(f"tenants: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        code = 3
    except (BrokerError, ValueError) as error:
        print(f"tenants: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
