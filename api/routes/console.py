"""The page: its index at the addresses that it knows, and its files."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import HTMLResponse

from api.console import ALWAYS_ASKED, ASSETS, FOREVER, FRAME_HEADERS, HEADERS, NOT_BUILT, BuiltPage, File
from api.problems import not_found

router = APIRouter(include_in_schema=False)

PAGES: Final = (
    "/", "/services", "/workloads", "/new", "/requests", "/requests/{request_id}", "/profiles", "/flamegraph",
    "/sign-in", "/health", "/audit", "/schedules", "/tokens",
)  # fmt: skip
"""What the page shows by itself, each a permalink. Whatever else nobody serves stays unknown, under /api above all."""
Encodings = Annotated[str, Header(alias="accept-encoding")]


def built_page(request: Request) -> BuiltPage:
    """What was built. Read once: it changes with the program alone."""
    state = request.app.state
    built: BuiltPage | None = getattr(state, "built_page", None)
    if built is None:
        built = state.built_page = BuiltPage.read()
    return built


async def index(request: Request, accept_encoding: Encodings = "") -> Response:
    """The page, to anybody: who they are is asked by it, and held against each of its calls."""
    built = built_page(request).index
    if built is None:
        return HTMLResponse(NOT_BUILT, 404, {**HEADERS, "Cache-Control": "no-store"})
    return _sent(built, accept_encoding, cached=ALWAYS_ASKED)


for _path in PAGES:
    router.get(_path)(index)


@router.get("/speedscope")
async def frame(request: Request, accept_encoding: Encodings = "") -> Response:
    """The document of the frame in which speedscope shows what the page hands it."""
    built = built_page(request).frame
    if built is None:
        raise not_found("speedscope", "The page was not built here.")
    return _sent(built, accept_encoding, cached=ALWAYS_ASKED, headers=FRAME_HEADERS)


@router.get(f"/{ASSETS}/{{name}}")
async def asset(
    request: Request, name: Annotated[str, Path(max_length=256)], accept_encoding: Encodings = ""
) -> Response:
    """A file of the page. Its name changes with its content, so that it may be kept for good."""
    found = built_page(request).assets.get(name)
    if found is None:
        raise not_found("name", "The page has no such file; it may be of another build.")
    return _sent(found, accept_encoding, cached=FOREVER)


def _sent(file: File, encodings: str, *, cached: str, headers: Mapping[str, str] = HEADERS) -> Response:
    headers = {**headers, "Cache-Control": cached, "Vary": "Accept-Encoding"}
    if file.zipped is not None and "gzip" in encodings:
        return Response(file.zipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.plain, headers=headers, media_type=file.media_type)
