"""Which of two ways to follow stacks saw more of a process."""

from collections.abc import Mapping

from formats.frames import SEPARATOR
from formats.scaling import scale

Stacks = Mapping[str, int]


def named_frames(stacks: Stacks) -> float:
    """How many frames of user space with a name a sample has, on average.

    Placeholders do not count: a register that is no frame pointer leads to addresses that are nobody's.
    """
    total = sum(stacks.values())
    named = sum(
        count * sum(not (name.startswith("[") or name.endswith("_[k]")) for name in stack.split(SEPARATOR))
        for stack, count in stacks.items()
    )
    return named / total if total else 0.0


def deeper(by_pointer: Mapping[int, Stacks], by_copy: Mapping[int, Stacks]) -> dict[int, dict[str, int]]:
    """Per pid the account that sees deeper, with the number of samples that the frame pointers' has.

    Both were taken at the same rate. A pid that only one of them saw is taken as it is.
    """
    chosen = {pid: dict(stacks) for pid, stacks in {**by_copy, **by_pointer}.items()}
    for pid in by_pointer.keys() & by_copy.keys():
        if named_frames(by_copy[pid]) > named_frames(by_pointer[pid]):
            chosen[pid] = scale(by_copy[pid], sum(by_pointer[pid].values()))
    return chosen
