"""Traces by OpenTelemetry: a request's way from its submission through merge and delivery to its completion.

Without the extra `otel`, or without an address to send them to, nothing is made and nothing is stored. With them, the
trace that a submission is part of (W3C Trace Context) goes along in the request's entries and in the command.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

log = structlog.get_logger(__name__)

ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Where traces go, in OpenTelemetry's own words; every other OTEL_ setting holds too."""
TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class TracesNeedTheExtra(ImportError):
    """Traces are asked for and cannot be made."""

    def __init__(self) -> None:
        super().__init__(
            "traces need the extra: install performance-studio[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        )


def configure_tracing(role: str) -> None:
    """Send this process's traces to where the environment says; nowhere, where it says nothing.

    Raises:
        TracesNeedTheExtra: the SDK is not installed.
    """
    if not any(os.environ.get(name) for name in ADDRESSES):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        raise TracesNeedTheExtra from None
    provider = TracerProvider(resource=Resource.create({"service.name": f"performance-studio-{role}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    log.info("traces are sent", role=role)


def is_on() -> bool:
    """Whether somebody has set up where traces go."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


@contextlib.contextmanager
def span(name: str, *, parent: str = "", **attributes: str | int) -> Iterator[str]:
    """One step; gives what to hand on so that later steps are of the same trace, an empty text where nobody traces.

    Args:
        name: what is done.
        parent: what was handed on; without one the step begins a trace of its own.
        attributes: facts of the step.
    """
    if not is_on():
        yield ""
        return
    context = trace.set_span_in_context(NonRecordingSpan(_read(parent))) if _read(parent).is_valid else None
    told = {f"pcs.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("performance-studio").start_as_current_span(
        name, context=context, kind=SpanKind.INTERNAL, attributes=told
    ) as made:
        yield _write(made.get_span_context())


def trace_id() -> str:
    """The trace that is under way, for logs; an empty text where there is none."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""


def _read(text: str) -> SpanContext:
    found = TRACEPARENT.fullmatch(text)
    if found is None:
        return trace.INVALID_SPAN_CONTEXT
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16)))


def _write(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
