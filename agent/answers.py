"""What a server's answers say, and how a completion is put to it. Pure."""

import json
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urljoin

from protocol.completions import Completion
from protocol.pacing import MAX_INTERVAL

_MAX_DETAIL: Final = 300
_MAX_PLACE: Final = 2_000


def completion_body(completion: Completion, *, seconds: int | None = None) -> bytes:
    """The body; whole seconds are a whole number, `2` and not `2.0`, as some servers take no other."""
    said = completion.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    exact = said.get("execution_time")
    if seconds is not None or (isinstance(exact, float) and exact.is_integer()):
        said["execution_time"] = seconds if seconds is not None else int(exact or 0)
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def detail(body: Any, headers: Mapping[str, str], *, phrase: str, is_redirect: bool) -> str:
    """The server's own word on an error; the status's usual phrase where it has none."""
    if is_redirect:
        return f"the server sends elsewhere ({headers.get('location', '')[:_MAX_DETAIL]}); name that address"
    if not isinstance(body, dict):
        return phrase
    return str(body.get("detail") or body.get("title") or body.get("message") or phrase)[:_MAX_DETAIL]


def place(body: Any, headers: Mapping[str, str], server: str) -> str | None:
    """Where the server says that a profile is: an address of its own, or what it calls it."""
    told = body if isinstance(body, dict) else {}
    link = told.get("url") or headers.get("location")
    if isinstance(link, str) and link:
        return urljoin(f"{server}/", link)[:_MAX_PLACE]
    name = told.get("results_path") or told.get("profile_id") or told.get("id")
    return str(name)[:_MAX_PLACE] if isinstance(name, str | int) else None


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Seconds, or a date: taken against the server's own clock, as ours may be wrong."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return min(timedelta(seconds=min(int(asked), 10**6)), MAX_INTERVAL)
    try:
        until = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(until, timedelta(0)), MAX_INTERVAL)
