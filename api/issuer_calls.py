"""Calling the issuer of sign-ins. The only module of the API that calls somebody."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from api.settings import is_private

MOST_BYTES: Final = 256 * 1024
TIMEOUT: Final = httpx.Timeout(5.0)


class NotToBeHad(Exception):
    """The issuer cannot be asked, or does not answer with a JSON object of sane size.

    Attributes:
        status: of its answer; None where there was none.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


async def json_at(url: str) -> dict[str, Any]:
    """The JSON object at an address.

    Raises:
        NotToBeHad: there is none.
    """
    status, found = await _called("GET", url)
    if not httpx.codes.is_success(status):
        raise NotToBeHad(f"status {status}", status=status)
    return found


async def posted(
    url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """What the issuer makes of a form: status and JSON object, of a refusal too.

    Args:
        url: where it goes.
        form: its fields.
        basic: name and password, for the header.

    Raises:
        NotToBeHad: there is no such answer.
    """
    return await _called("POST", url, form=form, basic=basic)


async def _called(
    method: str, url: str, *, form: Mapping[str, str] | None = None, basic: tuple[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    if not is_private(url):
        raise NotToBeHad("it is not at an https:// address")
    body = bytearray()
    status = None
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, auth=basic) as client,
            client.stream(method, url, headers={"Accept": "application/json"}, data=form) as answer,
        ):
            status = answer.status_code
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise NotToBeHad(f"more than {MOST_BYTES} bytes", status=status)
        found = httpx.Response(200, content=bytes(body)).json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotToBeHad(type(error).__name__, status=status) from error
    except (ValueError, RecursionError) as error:
        raise NotToBeHad("it is no JSON" if status == httpx.codes.OK else f"status {status}", status=status) from error
    if not isinstance(found, dict):
        raise NotToBeHad("it is no JSON object", status=status)
    return status, found
