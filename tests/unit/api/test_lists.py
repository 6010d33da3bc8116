"""Every list of the API comes in pages, in the same words; and docs/protocol.md tells each of them."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from api.app import create_app
from api.paging import Paging, paged
from api.settings import ApiSettings
from broker.settings import BrokerSettings

PAGE: Final = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
WHOLE: Final[Mapping[str, str]] = {
    "/api/v1/roles": "as many as processes of ours were at work within an hour: a page would tear roles apart",
    "/api/v1/flamegraph/functions": "the heaviest of one flame graph, as many as are asked for; the cut is told",
    "/api/v1/flamegraph/timeline": "one time range in as many parts as are asked for",
}
"""Lists that come whole, and why."""
PAGING: Final = ("limit", "cursor", "sort")


def new_app() -> FastAPI:
    return create_app(ApiSettings(insecure_no_auth=True), BrokerSettings())


def lists_of(app: FastAPI) -> dict[str, dict[str, Any]]:
    """Calls that answer with several of something, by path. What ends in a name shows one thing, with what is in it."""
    document = app.openapi()
    found = {}
    for path, calls in document["paths"].items():
        content = calls.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        answer = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
        of_things = (
            each.get("type") == "array" and "$ref" in each.get("items", {})
            for each in answer.get("properties", {}).values()
        )
        if any(of_things) and not path.endswith("}"):
            found[path] = calls["get"]
    return found


def paged_routes(app: FastAPI) -> set[str]:
    """Paths of the calls that have `api.paging` read what page is asked for."""
    return {
        str(route.path)
        for route in iter_route_contexts(app.routes)
        for dependency in getattr(getattr(route, "dependant", None), "dependencies", ())
        if inspect.signature(dependency.call).return_annotation is Paging
    }


def unpaged(app: FastAPI) -> set[str]:
    return set(lists_of(app)) - paged_routes(app)


def test_every_list_comes_in_pages_or_is_whole_on_purpose() -> None:
    app = new_app()
    assert unpaged(app) == set(WHOLE)
    assert len(paged_routes(app)) >= 10


class Thing(BaseModel):
    name: str


class Things(BaseModel):
    things: list[Thing]


async def whole() -> Things:
    return Things(things=[])


async def with_a_limit_of_its_own(limit: int = 10, cursor: str = "", sort: str = "name") -> Things:
    return Things(things=[Thing(name=f"{limit}{cursor}{sort}")])


async def in_pages(paging: Annotated[Paging, Depends(paged({"name": (str,)}, limit=10, most=100))]) -> Things:
    return Things(things=[Thing(name=paging.sort)])


@pytest.mark.parametrize(("endpoint", "is_found"), [(whole, True), (with_a_limit_of_its_own, True), (in_pages, False)])
def test_a_new_list_that_pages_by_itself_is_found(endpoint: Any, is_found: bool) -> None:
    app, router = new_app(), APIRouter()
    router.add_api_route("/api/v1/things", endpoint)
    app.include_router(router)
    assert unpaged(app) - set(WHOLE) == ({"/api/v1/things"} if is_found else set())


def rows() -> dict[str, list[str]]:
    """The table of lists: path -> its other cells."""
    section = re.search(r"^### Lists\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    lines = [line for line in section[1].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_table_of_lists_is_that_of_the_code() -> None:
    app = new_app()
    told = rows()
    assert set(told) == paged_routes(app)
    for path, call in lists_of(app).items():
        if path in WHOLE:
            continue
        given = {each["name"]: each["schema"] for each in call["parameters"] if each["in"] == "query"}
        sorts, filters, limit = told[path]
        known = re.findall(r"[a-z_]+", given["sort"]["pattern"].replace("\\", ""))
        named = re.findall(r"`-?([a-z_]+)`", sorts)
        assert list(dict.fromkeys(named)) == list(dict.fromkeys(known)), path
        assert re.findall(r"`([^`]+)`", sorts)[0] == given["sort"]["default"], path
        assert re.findall(r"`([a-z_]+)`", filters) == [name for name in given if name not in PAGING], path
        numbers = [int(each.replace(",", "")) for each in re.findall(r"[\d,]*\d", limit)]
        assert numbers in ([given["limit"]["default"], given["limit"]["maximum"]], [given["limit"]["maximum"]]), path
