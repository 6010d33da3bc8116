"""Calls of the REST API: sent, read by a model, and told apart where they fail.

Tokens travel in the header alone: never in an address, a log or an error.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from cli import deep_json
from cli.errors import Refused, Unreachable
from protocol.problems import Problem

TIMEOUT: Final = httpx.Timeout(5.0, connect=2.0)
OF_FILES: Final = httpx.Timeout(120.0, connect=2.0)
"""A flame graph of a fleet is merged while one waits."""
OF_STREAMS: Final = httpx.Timeout(45.0, connect=2.0)
"""A stream of events beats every 15 seconds: one that is silent for so long is gone."""
MOST_FAULTS_SHOWN: Final = 20

Answer = TypeVar("Answer", bound=BaseModel)
Query = Mapping[str, str | list[str]]


class Calls:
    """A connection to one API. Every call raises `Unreachable` when nobody answers and `Refused` on a problem."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        within: float | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy that is set for the outside world cannot reach an API on this machine. And an http:// address needs no
        # certificates, whose loading takes longer than a call.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT if within is None else within,
            trust_env=not is_loopback(url), transport=transport, verify=not url.lower().startswith("http://"),
        )  # fmt: skip
        self.url: Final = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @contextmanager
    def lines(self, path: str, query: Query, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """The lines of an answer that goes on."""
        try:
            with self._http.stream("GET", path, params=query, headers=headers, timeout=OF_STREAMS) as answer:
                if not answer.is_success:
                    answer.read()
                    self._fail(answer)
                yield answer.iter_lines()
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _file(self, path: str, query: Query) -> bytes:
        answer = self._send("GET", path, params=query, timeout=OF_FILES)
        return self._take(answer) if answer.is_success else self._fail(answer)

    def _get(self, path: str, model: type[Answer], query: Query) -> Answer:
        answer = self._send("GET", path, params=query)
        return self._read(answer, model) if answer.is_success else self._fail(answer)

    def _act(self, method: str, path: str, model: type[Answer], **content: object) -> Answer:
        answer = self._send(method, path, **content)
        return self._read(answer, model) if answer.is_success else self._fail(answer)

    def _pages(self, path: str, model: type[Answer], query: Query) -> Iterator[Answer]:
        """Page after page, each as it is asked for. The model has a `next_cursor`."""
        cursor: Any = ""
        while cursor is not None:
            page = self._get(path, model, {**query, **({"cursor": cursor} if cursor else {})})
            yield page
            cursor = page.model_dump(include={"next_cursor"})["next_cursor"]

    def _send(self, method: str, path: str, **content: object) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)  # type: ignore[arg-type]  # params or json, as given above
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.HTTPError) -> Unreachable:
        return Unreachable(f"{self.url} does not answer: {error or type(error).__name__}")

    def _take(self, answer: httpx.Response) -> bytes:
        return answer.content

    def _read(self, answer: httpx.Response, model: type[Answer]) -> Answer:
        try:
            return model.model_validate(deep_json.read(answer.text))
        except ValueError as error:  # pydantic's is one
            where = f"{answer.request.method} {answer.request.url.path}"
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise Unreachable(f"{where} at {self.url} is no answer of this API: {why}") from error

    def _fail(self, answer: httpx.Response) -> NoReturn:
        try:
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:
            raise Refused(status=answer.status_code, code="unknown", detail=answer.reason_phrase) from None
        faults = "".join(f"\n  {fault.field}: {fault.message}" for fault in problem.errors[:MOST_FAULTS_SHOWN])
        raise Refused(status=problem.status, code=problem.code, detail=problem.detail + faults)


def is_loopback(url: str) -> bool:
    """Whether an address stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
