"""ClickHouse's HTTP interface in front of chDB: what our client really sends goes over a socket into the real engine.

A stand-in for the server alone, as no package has one: its users and its network are played, its SQL is not.
"""

import base64
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame

USER: Final = "studio"
PASSWORD: Final = "p@ss/word"
INSERT: Final = re.compile(rb"INSERT INTO .* FORMAT Native\n", re.IGNORECASE)
WRONG_PASSWORD: Final = 516


@dataclass
class Server:
    """One that listens, and what it was told beside each question."""

    url: str
    settings: list[dict[str, str]] = field(default_factory=list)

    def url_of(self, password: str) -> str:
        return self.url.replace("p%40ss%2Fword", password)


class _Listening(ThreadingHTTPServer):
    """What its handlers share."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Asked)
        self.told = Server(f"http://{USER}:p%40ss%2Fword@127.0.0.1:{self.server_port}/default")
        self.connection = chdb.connect(":memory:")
        self.one_at_a_time = threading.Lock()


class _Asked(BaseHTTPRequestHandler):
    server: _Listening

    def log_message(self, *_: Any) -> None:
        """Nothing: a test says what matters."""

    def do_POST(self) -> None:
        said = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        self.server.told.settings.append(said)
        credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {credentials}":
            self._reply(403, b"Code: 516. Authentication failed", WRONG_PASSWORD)
            return
        values = {name.removeprefix("param_"): value for name, value in said.items() if name.startswith("param_")}
        try:
            with self.server.one_at_a_time:
                self._reply(200, run(self.server.connection, said.get("query", "").encode() + body, values))
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._reply(500, str(error).encode(), int(code[1]) if code else 1)

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] == "chunked":
            content = b"".join(self._chunks())
        else:
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        return lz4.frame.decompress(content) if self.headers["Content-Encoding"] == "lz4" else content

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _reply(self, status: int, content: bytes, code: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def clickhouse_server(port: int = 0) -> Iterator[Server]:
    """A server until the end of the block; by default on a port that nobody else has."""
    listening = _Listening(port)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield listening.told
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
        listening.connection.close()


def run(connection: Any, query: bytes, values: dict[str, str]) -> bytes:
    """A question, or rows to insert after the statement that says where to."""
    insert = INSERT.match(query)
    if insert is None:
        return bytes(connection.query(query.decode(), "TabSeparated", params=values).bytes())
    with tempfile.NamedTemporaryFile(suffix=".native") as rows:
        rows.write(query[insert.end() :])
        rows.flush()
        statement = insert[0].decode().replace("FORMAT Native\n", f"FROM INFILE '{rows.name}' FORMAT Native")
        connection.query(statement, "TabSeparated")
    return b""
