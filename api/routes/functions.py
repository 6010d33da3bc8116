"""Functions of stored profiles: the heaviest ones, and one with its callers and what it calls."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.dependencies import Studio, StudioDep
from api.documented import problems
from api.selections import SelectionDep, asked, merged_in, of_a_mode
from profiles.flamegraph import MOST_NODES, Tree
from profiles.functions import Function, around, heaviest
from profiles.questions import Selection
from profiles.renderings import Merged, unit_of
from profiles.trees import written

router = APIRouter(tags=["profiles"])


class FunctionView(BaseModel):
    """A function. `self`: samples in which it was the innermost frame; `total`: in which it was anywhere, once each."""

    name: str
    self: int
    total: int


class FunctionTable(BaseModel):
    """The heaviest functions, and how many there are; those left out have `cut_self` of all samples to themselves."""

    items: list[FunctionView]
    samples: int
    unit: Literal["samples", "bytes"]
    functions: int
    cut_functions: int
    cut_self: int


class CallTree(BaseModel):
    """A tree whose root is the function: `{"name", "value", "children"}`, cut as a flame graph is."""

    root: dict[str, Any]
    cut_nodes: int
    cut_samples: int


class FunctionCalls(BaseModel):
    """A function between its callers (children are who called) and its callees (children are what was called)."""

    function: FunctionView
    samples: int
    unit: Literal["samples", "bytes"]
    callers: CallTree
    callees: CallTree


@router.get(
    "/api/v1/flamegraph/functions", responses=problems(401, 403, 422, 503), summary="The heaviest functions"
)  # fmt: skip
async def functions(
    parts: StudioDep,
    selection: SelectionDep,
    sort: Annotated[
        Literal["-self", "-total"], Query(description="By what they ran themselves, or by all that they are in")
    ] = "-self",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Functions; the lightest beyond are left out")] = 100,
) -> FunctionTable:
    """The heaviest functions of everything selected. One that calls itself counts once in each stack."""
    whole = await _merged(parts, selection)
    found = await asked(lambda: heaviest(whole.stacks, order="self" if sort == "-self" else "total", most=limit))
    return FunctionTable(
        items=[_view(each) for each in found.items], samples=found.samples, unit=unit_of(whole),
        functions=found.functions, cut_functions=found.cut_functions, cut_self=found.cut_self_samples,
    )  # fmt: skip


@router.get(
    "/api/v1/flamegraph/function", responses={200: {"model": FunctionCalls}, **problems(401, 403, 422, 503)},
    response_model=None, summary="One function, its callers and its callees",
)  # fmt: skip
async def function(
    parts: StudioDep,
    selection: SelectionDep,
    name: Annotated[str, Query(min_length=1, max_length=4_096, description="As frames say it")],
    most_nodes: Annotated[int, Query(ge=1, le=200_000, description="Of each tree")] = MOST_NODES,
) -> Response:
    """Who calls a function, and what it calls; where it calls itself, around its outermost call.

    That no stack has it is no fault: then all counts are 0, as in a flame graph of nothing.
    """
    whole = await _merged(parts, selection)
    content = await asked(lambda: written(_calls(whole, name, most_nodes)))
    return Response(content, media_type="application/json")


def _calls(whole: Merged, name: str, most: int) -> dict[str, Any]:
    """What `FunctionCalls` says. As plain values: pydantic writes no tree that is as deep as stacks are."""
    found = around(whole.stacks, name, most=most)
    return {
        "function": _view(found.function).model_dump(), "samples": sum(whole.stacks.values()), "unit": unit_of(whole),
        "callers": _tree(found.callers), "callees": _tree(found.callees),
    }  # fmt: skip


async def _merged(parts: Studio, selection: Selection) -> Merged:
    (whole,) = await merged_in(parts, of_a_mode(selection))
    return whole


def _view(one: Function) -> FunctionView:
    return FunctionView(name=one.name, self=one.self_samples, total=one.total_samples)


def _tree(tree: Tree) -> dict[str, Any]:
    return {"root": tree.root, "cut_nodes": tree.cut_nodes, "cut_samples": tree.cut_samples}
