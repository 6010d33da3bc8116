"""The cookie of a sign-in at the page: where it is taken, and from whom.

A browser sends a cookie by itself, whoever made it call. So it counts only where a page of ours has calls to make, and
only when the browser, or a header that other sites' pages cannot set, says that it was a page of ours. An agent's calls
never take it. The cookie holds a session's secret and no token: stolen, it is good for hours, and until the sign-out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from api.auth import unauthenticated
from api.problems import Refusal
from broker.identity import digest_of
from broker.sessions import Session
from broker.token_store import Token
from protocol.problems import FieldFault

if TYPE_CHECKING:  # it comes with all else that a process has
    from api.dependencies import Studio

COOKIE: Final = "studio_session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""Browsers let no other host and no plain connection set a cookie of this name."""
PAGE_HEADER: Final = "x-studio-page"
"""Pages of other sites cannot send it: a browser would ask first, and is not answered."""
OURS: Final = frozenset({"same-origin", "none"})
SAFE: Final = frozenset({"GET", "HEAD"})
SIGN_IN: Final = "/api/v1/session"
OF_THE_FIELD: Final = (
    "/api/metrics/profile_request", "/api/metrics/profile_request/bulk", "/api/metrics/profiling/workload_status",
)  # fmt: skip
"""What the page calls by the field's names."""
OF_THE_PAGE: Final = "/api/v1/"
NEVER: Final = frozenset({"/api/v1/enrol", "/api/v1/ws"})


def takes_cookies(method: str, path: str) -> bool:
    """Whether a route takes a sign-in for a token: those of the page, and none that an agent calls."""
    if path == SIGN_IN:
        return method != "POST"  # a session is bought with a token, never with another session
    return path in OF_THE_FIELD or (path.startswith(OF_THE_PAGE) and path not in NEVER)


def secret_in(call: HTTPConnection) -> str | None:
    """The secret that a call's cookie has; over TLS only the cookie that no plain connection can have set."""
    return call.cookies.get(_name_of(call))


def _name_of(call: HTTPConnection) -> str:
    return SECURE_COOKIE if call.url.scheme == "https" else COOKIE


def why_foreign(method: str, headers: Mapping[str, str], host: str) -> str:
    """What shows that a page of another site made the browser call; empty: nothing does.

    Args:
        method: of the call.
        headers: in small letters.
        host: where the call says that it goes, with its port.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:  # the browser's own word, which no page can change
        if site not in OURS:
            return "it comes from a page of another site"
    elif origin is not None and urlsplit(origin).netloc != host:
        return "it comes from a page of another origin"
    if method not in SAFE and PAGE_HEADER not in headers:
        return "a change needs the header X-Studio-Page beside the cookie"
    return ""


async def identify(call: HTTPConnection, parts: "Studio", headers: Mapping[str, str]) -> Token:
    """The caller's token: of the header `Authorization`, else of the sign-in, where that is taken.

    Raises:
        Refusal: there is none, it is not good, a page of another site made the browser call, or too many cookies that
            are none came from its address.
        BrokerUnavailable: it cannot be looked up.
    """
    authenticator = parts.authenticator
    secret = secret_in(call)
    method, path = call.scope.get("method", "GET"), call.scope["path"]
    if secret is None or "authorization" in headers or authenticator.is_switched_off or not takes_cookies(method, path):
        return await authenticator.identify(headers)
    if why := why_foreign(method, headers, headers.get("host", "")):
        fault = FieldFault(field="Cookie", message=why, code="foreign_page")
        raise Refusal("forbidden", f"The sign-in is not taken: {why}.", errors=[fault])
    session = await parts.lookups.bounded(
        digest_of(secret), lambda: parts.sessions.find(secret, now=datetime.now(UTC))
    )  # fmt: skip
    if session is None:
        raise unauthenticated("The sign-in has ended. Sign in again.")
    if session.person is None:
        return await authenticator.holder_of(session.digest)
    people = parts.people
    holder = None if people is None else people.holder_of(session.person, ends_at=session.ends_at)
    if holder is None:
        raise unauthenticated("The sign-in has ended: what let you in is no longer granted.")
    return holder


def set_cookie(call: HTTPConnection, answer: Response, secret: str, session: Session) -> None:
    """Have the browser keep a session: out of scripts' reach, and for calls that pages of ours make alone."""
    answer.set_cookie(
        _name_of(call), secret, expires=session.ends_at, path="/", secure=call.url.scheme == "https", httponly=True,
        samesite="strict",
    )  # fmt: skip


def drop_cookie(call: HTTPConnection, answer: Response) -> None:
    """Have the browser forget it."""
    answer.delete_cookie(
        _name_of(call), path="/", secure=call.url.scheme == "https", httponly=True, samesite="strict"
    )  # fmt: skip
