"""A collector of OpenTelemetry's traces: what OTLP over HTTP brings, decoded by OpenTelemetry's own messages."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

TRACES: Final = "/v1/traces"
PROTOBUF: Final = "application/x-protobuf"


@dataclass(frozen=True)
class Span:
    """One step as the collector was told of it; `parent` is empty where it began a trace."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]


class Collector:
    """What has come so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.refused: list[str] = []

    @property
    def env(self) -> dict[str, str]:
        """How a process is told to send its traces here, soon and by no proxy."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100", "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def of_trace(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by name."""
        return {span.name: span for span in tuple(self.spans) if span.trace_id == trace_id}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens, until the end of the block."""

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if (self.path, self.headers["Content-Type"]) != (TRACES, PROTOBUF):
                collector.refused.append(f"{self.path} {self.headers['Content-Type']}")
                self.send_error(400)
                return
            collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library calls it
            """Nothing: a test says what is missing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    listening = threading.Thread(target=server.serve_forever, name="collector")
    listening.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        listening.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        service = _facts(of_resource.resource.attributes)["service.name"]
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    _facts(span.attributes),
                )  # fmt: skip


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
