"""How much slower a workload is beside a profiler, on a machine whose own speed changes from minute to minute. Pure.

A virtual machine's processor is faster or slower as its neighbours please, and is taken away now and then (`steal`).
So a window with the profiler is compared with the windows just before and after it alone, and by two factors, whose
product is the workload's rate:

- its share of the processor time that the machine had to give: what profilers take from it shows here, and whether the
  processor is slow just now does not;
- its speed for each second of processor time that it got: what sampling itself costs it (interrupts, caches), and all
  of the machine's moods.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

RESAMPLED: Final = 4_000
CONFIDENCE: Final = 0.95

Verdict = Literal["kept", "missed", "open"]


@dataclass(frozen=True)
class Window:
    """What happened in a stretch of time; all times in seconds.

    Attributes:
        way: which profiler was at work, `nothing` where none was.
        seconds: how long it was.
        cores: of the machine.
        done: rounds of the workload.
        used: the workload's processor time.
        stolen: processor time that the machine had not to give, by `/proc/stat`.
        spent: the processor time of profilers and agent.
    """

    way: str
    seconds: float
    cores: int
    done: int
    used: float
    stolen: float
    spent: float

    @property
    def available(self) -> float:
        """Processor time that the machine had to give."""
        return self.cores * self.seconds - self.stolen

    @property
    def share(self) -> float:
        """Of that, what the workload got."""
        return self.used / self.available

    @property
    def speed(self) -> float:
        """Rounds for each second of its own processor time."""
        return self.done / self.used

    @property
    def rate(self) -> float:
        """Rounds for each second that was to be had: `share` times `speed`."""
        return self.done / self.available

    @property
    def taken(self) -> float:
        """Of all cores, what profilers and agent used, in percent."""
        return 100 * self.spent / (self.cores * self.seconds)


@dataclass(frozen=True)
class Estimate:
    """A median, and between what the true one lies in 95 of 100 cases: in percent."""

    median: float
    low: float
    high: float

    def within(self, most: float) -> Verdict:
        """Whether it is at most so much, as far as the noise lets one say."""
        if self.high <= most:
            return "kept"
        return "missed" if self.low > most else "open"


def slower(windows: Sequence[Window], way: str, by: Callable[[Window], float]) -> list[float]:
    """Per window of that way, by how many percent it was slower than the two windows of nothing around it.

    Raises:
        ValueError: a window does not stand between two of nothing.
    """
    fallen = []
    for number, window in enumerate(windows):
        if window.way != way:
            continue
        around = [each for each in windows[max(number - 1, 0) : number + 2] if each.way == "nothing"]
        if len(around) != 2:
            raise ValueError(f"window {number} ({way}) does not stand between two of nothing")
        fallen.append(100 * (1 - by(window) / statistics.fmean(map(by, around))))
    return fallen


def estimate(values: Sequence[float], *, seed: int = 1) -> Estimate:
    """The median with a bootstrap's interval: the percentiles of the medians of what is drawn again from the values.

    Raises:
        ValueError: there is nothing to estimate from.
    """
    if not values:
        raise ValueError("no windows")
    dice = random.Random(seed)
    medians = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(RESAMPLED))
    cut = int(RESAMPLED * (1 - CONFIDENCE) / 2)
    return Estimate(statistics.median(values), medians[cut], medians[-cut - 1])


def order(ways: Sequence[str], rounds: int, *, seed: int) -> list[str]:
    """Nothing before and after every way; each round has every way once, in an order of its own."""
    dice = random.Random(seed)
    sequence = ["nothing"] if rounds else []
    for _ in range(rounds):
        for way in dice.sample(list(ways), k=len(ways)):
            sequence += [way, "nothing"]
    return sequence
