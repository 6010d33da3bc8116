"""A certificate that is renewed under a running agent: a real server that asks for one sees the new one."""

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.transport import Transport, Unreachable
from protocol.heartbeats import Heartbeat
from tests.support.certificates import Authority, Pair

REPLY = json.dumps({"success": True, "message": "ok", "profiling_command": None, "command_id": None}).encode()


class Asking:
    """A server that demands a client's certificate, and notes the common name of each call."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.shown: list[str] = []
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                shown = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
                name = str(shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
                with connection.makefile("rb") as lines:
                    while lines.readline():
                        length = 0
                        while (line := lines.readline().strip().lower()) != b"":
                            if line.startswith(b"content-length:"):
                                length = int(line.partition(b":")[2])
                        lines.read(length)
                        self.shown.append(name)
                        head = (
                            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(REPLY)}\r\n\r\n"
                        )
                        connection.sendall(head.encode() + REPLY)
        except (OSError, ValueError):
            plain.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@contextmanager
def asking(authority: Authority) -> Iterator[Asking]:
    own = authority.vouch("studio", address="127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.cert))
    context.load_cert_chain(own.cert, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Asking(context)
    try:
        yield server
    finally:
        server.close()


def put(pair: Pair, folder: Path) -> tuple[Path, Path]:
    """Renew the files as tools do: a new file takes the name of the old one."""
    for source, name in ((pair.cert, "agent.pem"), (pair.key, "agent.key")):
        shutil.copy(source, folder / f".{name}")
        (folder / f".{name}").replace(folder / name)
    return folder / "agent.pem", folder / "agent.key"


def transport(server: Asking, authority: Authority, cert: Path | None, key: Path | None) -> Transport:
    return Transport(
        server.url, token=lambda: None, user_agent="test", ca_bundle=authority.cert, client_cert=cert, client_key=key,
        send_timeout=timedelta(seconds=10),
    )  # fmt: skip


BEAT = Heartbeat(ip_address="127.0.0.1", hostname="web-01", service_name="web", status="active")


async def test_a_renewed_certificate_is_shown_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    with asking(authority) as server:
        cert, key = put(authority.vouch("web-01"), tmp_path)
        line = transport(server, authority, cert, key)
        for _ in range(2):
            await line.heartbeat(BEAT, wait=timedelta(0))
        put(authority.vouch("web-01-renewed"), tmp_path)
        for _ in range(2):
            await line.heartbeat(BEAT, wait=timedelta(0))
        await line.aclose()
    assert server.shown == ["web-01", "web-01", "web-01-renewed", "web-01-renewed"]


async def test_half_a_renewal_leaves_the_old_certificate_in_use(authority: Authority, tmp_path: Path) -> None:
    with asking(authority) as server:
        cert, key = put(authority.vouch("web-01"), tmp_path)
        line = transport(server, authority, cert, key)
        await line.heartbeat(BEAT, wait=timedelta(0))
        renewed = authority.vouch("web-01-renewed")
        shutil.copy(renewed.cert, cert)  # and the key not yet
        await line.heartbeat(BEAT, wait=timedelta(0))
        shutil.copy(renewed.key, key)
        await line.heartbeat(BEAT, wait=timedelta(0))
        await line.aclose()
    assert server.shown == ["web-01", "web-01", "web-01-renewed"]


async def test_without_a_certificate_such_a_server_is_out_of_reach(authority: Authority) -> None:
    with asking(authority) as server:
        line = transport(server, authority, None, None)
        with pytest.raises(Unreachable):
            await line.heartbeat(BEAT, wait=timedelta(0))
        await line.aclose()
    assert server.shown == []
