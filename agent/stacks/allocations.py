"""What the samples of a JVM's allocations stand for, in bytes. Pure.

A sample stands for all that its thread has allocated since the sample before. The JVM takes so many a second at most:
on a busy host it has taken them early in a fifth of a second and takes none for the rest. Then the next one stands for
some hundred megabytes, allocated wherever the thread was meanwhile.
"""

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

AROUND: Final = 10
"""So many samples before a pause, and after it, tell where a thread was meanwhile."""
PAUSE: Final = 5
"""A pause is so many times longer than the thread's samples are apart, and stands for so many times more."""


class Allocated(NamedTuple):
    """One sampled allocation: where, for how many bytes it stands, in which thread, and when."""

    stack: str
    weight: int
    thread: Any
    at: int


def since_the_start(sampled: Sequence[Allocated]) -> Iterator[tuple[str, int]]:
    """Stacks and bytes of what was allocated during the recording.

    A sample stands for what its thread has allocated since the sample before, and the first of a thread for all since
    the thread began: gigabytes, in a JVM that has run for long, of which nobody knows where. It counts no more than the
    others do on average; where there is no other, it is all there is.
    """
    first: dict[Any, Allocated] = {}
    for each in sampled:
        if each.thread not in first or each.at < first[each.thread].at:
            first[each.thread] = each
    of_the_past = {id(each) for each in first.values()}
    others = [each.weight for each in sampled if id(each) not in of_the_past]
    most = round(statistics.fmean(others)) if others else None
    threads: dict[Any, list[Allocated]] = {}
    for each in sampled:
        is_bounded = most is not None and id(each) in of_the_past
        weight = min(each.weight, most or 1) if is_bounded else each.weight
        threads.setdefault(each.thread, []).append(each._replace(weight=weight))
    for of_thread in threads.values():
        for each in spread(of_thread):
            yield each.stack, each.weight


def spread(of_thread: Sequence[Allocated]) -> list[Allocated]:
    """The samples of a thread, with what was allocated in each pause shared among those around it.

    One sample alone would have it all, by chance: of ten gigabytes some two dozen samples would tell where they went.
    The sum stays the same. A large object is no pause: it comes as soon after the sample before as any other.
    """
    if len(of_thread) < 2 * AROUND:
        return list(of_thread)
    ordered = sorted(of_thread, key=lambda each: each.at)
    weights = [each.weight for each in ordered]
    gaps = [0, *(later.at - earlier.at for earlier, later in pairwise(ordered))]
    usual, usual_gap = round(statistics.median(weights)), statistics.median(gaps[1:])
    for number, each in enumerate(ordered):
        if gaps[number] > PAUSE * usual_gap and each.weight > PAUSE * usual:
            around = range(max(number - AROUND, 0), min(number + AROUND, len(ordered)))
            share = (each.weight - usual) // len(around)
            weights[number] -= share * len(around)
            for other in around:
                weights[other] += share
    return [each._replace(weight=weight) for each, weight in zip(ordered, weights, strict=True)]
