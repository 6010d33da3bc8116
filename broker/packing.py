"""Connections that pack commands in C.

redis-py packs them so in its synchronous client when hiredis is there; its asynchronous one does it in Python, word by
word. A merge of 10,000 hosts packs 130,000 words.
"""

from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection


class PacksInC(AbstractConnection):
    """What is packed goes out in one piece: the socket's buffer takes it as it can."""

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
