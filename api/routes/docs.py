"""`GET /docs`: the API's description to read."""

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.docs_page import HEADERS, page

router = APIRouter()

PATH: Final = "/docs"


@router.get(PATH, include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Every call and every field. It is made once: nobody who asks for it has to say who they are."""
    state = request.app.state
    made: str | None = getattr(state, "docs_page", None)
    if made is None:
        made = state.docs_page = page(request.app.openapi())
    return HTMLResponse(made, headers=dict(HEADERS))
