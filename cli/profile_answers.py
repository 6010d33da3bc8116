"""What the API says of stored profiles. Trees are plain values: `{"name", "value", "children"}`, however deep."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

Unit = Literal["samples", "bytes"]
Node = dict[str, Any]


class ProfileRow(BaseModel):
    """A stored profile in a list."""

    profile_id: str
    hostname: str
    started_at: datetime
    command_id: str
    profiling_mode: str
    samples: int


class ProfilePage(BaseModel):
    """A page of them."""

    items: list[ProfileRow]
    next_cursor: str | None = None


class DeletedProfile(BaseModel):
    """What was deleted."""

    profile_id: str


class FlameGraph(BaseModel):
    """A merged tree, children the heaviest first, and how much of it was left out."""

    root: Node
    samples: int
    unit: Unit
    stacks: int
    cut_nodes: int
    cut_samples: int


class Difference(BaseModel):
    """Two trees in one: a node has `base` and `change` beside its `value`."""

    root: Node
    samples: int
    base_samples: int
    unit: Unit
    stacks: int
    cut_nodes: int
    cut_samples: int
    cut_base_samples: int


class FunctionRow(BaseModel):
    """A function: samples in which it was the innermost frame, and in which it was anywhere."""

    name: str
    self: int
    total: int


class FunctionTable(BaseModel):
    """The heaviest functions."""

    items: list[FunctionRow]
    samples: int
    unit: Unit
    functions: int
    cut_functions: int
    cut_self: int


class CallTree(BaseModel):
    """A tree whose root is a function, and how much of it was left out."""

    root: Node
    cut_nodes: int
    cut_samples: int


class FunctionCalls(BaseModel):
    """A function between its callers and what it calls."""

    function: FunctionRow
    samples: int
    unit: Unit
    callers: CallTree
    callees: CallTree


class Step(BaseModel):
    """What began in one stretch of time."""

    at: datetime
    samples: int
    profiles: int


class Timeline(BaseModel):
    """Samples over time, in steps of so many seconds."""

    step: int
    unit: Unit
    samples: int
    items: list[Step]
