"""A call that must be refused, and what a refusal must and must not do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from protocol.problems import MEDIA_TYPE, Problem
from tests.support.api import Api
from tests.support.servers import everything_in

MISSING: Final = object()
"""In place of a value: the field is not there."""


@dataclass(frozen=True)
class Bad:
    """One call that is refused: what is sent, and the exact answer. `fields`: every one at fault, and no other."""

    name: str
    path: str
    fields: Sequence[str]
    method: str = "POST"
    status: int = 422
    code: str = "invalid"
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    token: str = "admin"

    def __str__(self) -> str:
        return f"{self.method} {self.path.rpartition('/')[2]}: {self.name}"

    def send(self, api: Api, token: str | None) -> httpx.Response:
        """Send it."""
        # A callable makes a stream anew: it goes out in chunks, with no length declared.
        content = self.content() if callable(self.content) else self.content
        headers = {"Content-Type": "application/json", **self.headers}
        return api.call(self.method, self.path, token=token, content=content, headers=headers, params=self.params)


def as_json(body: Any) -> bytes:
    """JSON with everything escaped, so that NUL and lone surrogates can be said; NaN comes out as NaN."""
    return json.dumps(body).encode()


def changed(good: Mapping[str, Any], changes: Mapping[str, Any]) -> bytes:
    """A good body with some fields changed or missing."""
    return as_json({name: value for name, value in {**good, **changes}.items() if value is not MISSING})


def check_refused(api: Api, bad: Bad, token: str | None) -> httpx.Response:
    """Send it; it is refused with exactly that, nothing in the broker has changed, and no secret is in the log.

    Raises:
        AssertionError: anything else.
    """
    before = everything_in(api.settings)
    answer = bad.send(api, token)
    assert answer.status_code == bad.status, answer.text
    assert everything_in(api.settings) == before
    check_problem(answer, code=bad.code, fields=bad.fields)
    check_tells_no_secret(api, answer)
    return answer


def check_problem(answer: httpx.Response, *, code: str, fields: Sequence[str]) -> None:
    """The answer is a problem in our words and names every field at fault, and no other."""
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    assert problem.code == code
    assert sorted({fault.field for fault in problem.errors}) == sorted(fields), problem.errors
    assert all(fault.message and fault.code for fault in problem.errors)


def check_tells_no_secret(api: Api, answer: httpx.Response) -> None:
    """Neither the answer nor the log carries a token."""
    assert not [secret for secret in (*api.secrets.values(), *api.made_tokens) if secret in answer.text]
    api.check_log()
