"""Two selections of stored profiles, compared: how each frame's share has changed."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.dependencies import Studio, StudioDep
from api.documented import problems
from api.selections import Accept, BothDep, Nodes, answered, asked, merged_in, of_a_mode
from profiles.differences import DIFFERENCES
from profiles.questions import Selection
from profiles.renderings import MOST, RENDERINGS, Format, by_accept

router = APIRouter(tags=["profiles"])

PATH: Final = "/api/v1/flamegraph/diff"


class Difference(BaseModel):
    """Two trees in one: `{"name", "value", "base", "change", "children"}`.

    `value` are the selection's samples, `base` the base's, `change` by how much the share of all samples has grown, -1
    to 1. Children come the heaviest first, by both shares together; the lightest are left out as in a flame graph.
    """

    root: dict[str, Any]
    samples: int
    base_samples: int
    unit: Literal["samples", "bytes"]
    stacks: int
    cut_nodes: int
    cut_samples: int
    cut_base_samples: int


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": Difference,
        "content": {
            RENDERINGS[kind].media_type: {"schema": {"type": "string", "format": "binary"}}
            for kind in DIFFERENCES
            if kind != "json"
        },
    },
    **problems(401, 403, 422, 503),
}


@router.get(PATH, responses=RESPONSES, response_model=None, summary="Two selections, compared")
async def difference(parts: StudioDep, both: BothDep, most_nodes: Nodes = MOST, accept: Accept = "") -> Response:
    """What is selected, beside its base: as a tree by default. Shares are compared, whatever the number of samples."""
    return await _rendered(parts, both, by_accept(accept, DIFFERENCES) or "json", most_nodes)


def _in_format(kind: Format) -> Callable[..., Awaitable[Response]]:
    async def difference_file(parts: StudioDep, both: BothDep, most_nodes: Nodes = MOST) -> Response:
        """The same as a file of this format."""
        return await _rendered(parts, both, kind, most_nodes)

    return difference_file


for _kind in DIFFERENCES:
    router.add_api_route(
        f"{PATH}{RENDERINGS[_kind].ending}", _in_format(_kind), methods=["GET"], response_model=None,
        responses=RESPONSES, summary=f"Two selections, compared, as {_kind}", name=f"difference_{_kind}",
    )  # fmt: skip


async def _rendered(parts: Studio, both: tuple[Selection, Selection], kind: Format, most: int) -> Response:
    now, base = map(of_a_mode, both)
    merged, merged_base = await merged_in(parts, now, base)
    content = await asked(lambda: DIFFERENCES[kind](merged, merged_base, most))
    return answered(content, RENDERINGS[kind].media_type)
