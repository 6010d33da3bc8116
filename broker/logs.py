"""Logs of the server's roles: one line a decision, fields not prose; JSON unless a person is looking."""

import logging
import os
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

import structlog
from structlog.stdlib import ProcessorFormatter

from broker import tracing

call_id: Final[ContextVar[str]] = ContextVar("call_id", default="")
"""The HTTP call that is being answered: every line that is logged meanwhile names it. (`request_id` is a request's.)"""


def _name_the_call(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if told := call_id.get():
        event.setdefault("call_id", told)
    if told := tracing.trace_id():
        event.setdefault("trace_id", told)
    return event


def configure_logging() -> None:
    """Log to stderr. `PCS_LOG_LEVEL` sets the level (default INFO).

    What libraries log by the standard library's way comes in the same form, from WARNING on.
    """
    level = logging.getLevelNamesMapping().get(os.environ.get("PCS_LOG_LEVEL", "INFO").upper(), logging.INFO)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    told: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_the_call,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_text: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, renderer]
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*told, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *as_text],
        )
    )
    logging.basicConfig(handlers=[of_libraries], level=max(level, logging.WARNING), force=True)
    structlog.configure(
        processors=[*told, *as_text],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A line by one write, with its end: processes of one command line share the file, and may be killed.
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
