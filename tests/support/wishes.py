"""What operators may ask for, as Hypothesis strategies; small numbers, so that wishes meet."""

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from broker.effective import OpenRequest
from tests.support.builders import NOW

PIDS: Final = range(1, 5)
"""The processes that wishes may name. No wish names OUTSIDER: it stands for the rest of the host."""
OUTSIDER: Final = 99
UNIVERSE: Final = (*PIDS, OUTSIDER)

NO_KEYS: Final[st.SearchStrategy[dict[str, Any]]] = st.just({})
A_LONG_TIME: Final = st.just(1e6)

some_pids = st.none() | st.frozensets(st.sampled_from(PIDS), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def own_keys(values: st.SearchStrategy[Any] = json_values) -> st.SearchStrategy[dict[str, Any]]:
    """`additional_args` as operators write them."""
    names = st.sampled_from(["max_processes", "profiler_configs", "enable_perfspect", "self", "model_dump", ""])
    return st.dictionaries(names, values, max_size=3)


def starts(
    *,
    modes: tuple[str, ...] = ("cpu",),
    args: st.SearchStrategy[dict[str, Any]] = NO_KEYS,
    expires_in: st.SearchStrategy[float] = A_LONG_TIME,
    waits: tuple[float | None, ...] = (None,),
) -> st.SearchStrategy[OpenRequest]:
    """A start that was just submitted; without an id of its own yet."""
    return st.builds(
        OpenRequest,
        request_id=st.just(""),
        command_id=st.just(""),
        command_type=st.just("start"),
        accepted_at=st.just(NOW),
        expires_at=expires_in.map(lambda seconds: NOW + seconds),
        profiling_mode=st.sampled_from(modes),
        duration=st.sampled_from([1, 2, 10, 11, 60, 61, 3600]),
        frequency=st.sampled_from([1, 11, 99]),
        continuous=st.sampled_from([False, False, False, True]),
        pids=some_pids,
        additional_args=args,
        priority=st.sampled_from(["low", "normal", "urgent"]),
        not_before=st.sampled_from(waits).map(lambda seconds: None if seconds is None else NOW + seconds),
    )


def stops() -> st.SearchStrategy[OpenRequest]:
    """A stop of the host, or of some processes; without an id of its own yet."""
    return st.builds(
        OpenRequest,
        request_id=st.just(""),
        command_id=st.just(""),
        command_type=st.just("stop"),
        accepted_at=st.just(NOW),
        expires_at=st.just(NOW + 1e6),
        pids=some_pids,
    )


def named(requests: list[OpenRequest], *, prefix: str = "") -> list[OpenRequest]:
    """The same requests, each under its own id."""
    return [
        replace(request, request_id=f"{prefix}r{number}", command_id=f"{prefix}c{number}")
        for number, request in enumerate(requests)
    ]


def wants(request: OpenRequest, pid: int) -> bool:
    """Whether a request names this process, in its own words."""
    return request.pids is None or pid in request.pids
