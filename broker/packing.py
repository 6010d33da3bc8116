"""Connections that pack commands in C, and whose askers can be cancelled.

redis-py packs them so in its synchronous client when hiredis is there; its asynchronous one does it in Python, word by
word. A merge of 10,000 hosts packs 130,000 words.

It also sends each command by `asyncio.wait_for`. Before Python 3.12 that takes no notice of a cancellation in the very
turn in which the command has gone out: a task that asks again and again then goes on for ever.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class PacksInC(AbstractConnection):
    """What is packed goes out in one piece: the socket's buffer takes it as it can."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send what is packed; a connection on which that did not end well is not used again.

        Raises:
            RedisTimeoutError: the server did not take it in time.
            RedisConnectionError: the connection broke.
        """
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]  # redis-py has no types for it
        if isinstance(command, str):
            command = command.encode()
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([command] if isinstance(command, bytes) else command)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("the server takes nothing") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the connection broke: {error.strerror or type(error).__name__}") from error
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    def pack_command(self, *args: Any) -> list[bytes]:
        """One command as the server reads it. The command's name may be two words, as in redis-py."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        return [hiredis.pack_command((*name.split(), *args[1:]))]

    def pack_commands(self, commands: Any) -> list[bytes]:
        """Several commands as the server reads them."""
        return [b"".join(piece for command in commands for piece in self.pack_command(*command))]


class PackingConnection(PacksInC, Connection):
    """By TCP."""


class PackingSSLConnection(PacksInC, SSLConnection):
    """By TLS."""


class PackingUnixConnection(PacksInC, UnixDomainSocketConnection):
    """By a Unix socket."""


KINDS: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: PackingConnection,
    SSLConnection: PackingSSLConnection,
    UnixDomainSocketConnection: PackingUnixConnection,
}


def packing(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The connection of this kind that packs in C."""
    return KINDS[kind]
