"""What the agent costs a host: idle, and while it profiles, beside py-spy and perf alone.

    .venv/bin/python bench/agent.py
    .venv/bin/python bench/agent.py --way gprofiler --rounds 10
    unshare -pf --mount-proc .venv/bin/python bench/agent.py      # on a machine where much else runs

Root is needed to profile. See bench/README.md.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder: this file is not the package `agent`

from bench.pretended import Server, served  # noqa: E402 -- found by the line above
from bench.slowdown import Estimate, Window, estimate, order, slower  # noqa: E402 -- likewise
from bench.stage import PATIENCE_SECONDS, cpuinfo  # noqa: E402 -- likewise
from bench.workload import Workload, stolen  # noqa: E402 -- likewise

GPROFILER: Final = Path(sys.executable).with_name("gprofiler")
PY_SPY: Final = Path(sys.executable).with_name("py-spy")
SETTLE_SECONDS: Final = 8.0
AFTERWARDS_SECONDS: Final = 1.0
"""What an agent does after it has told of a run counts to the run."""
FREQUENCY_HZ: Final = 11
MOST_SLOWER: Final = 2.0
MOST_IDLE: Final = 0.3
MOST_MEMORY: Final = 60.0
WORDS: Final = {"kept": "kept", "missed": "missed", "open": "too much noise here to say"}


@contextlib.contextmanager
def child(*argv: str) -> Iterator[psutil.Process]:
    sink = subprocess.DEVNULL
    process = subprocess.Popen(argv, stdout=sink, stderr=sink, cwd=ROOT)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_of(process: psutil.Process) -> float:
    """Seconds, with those of its children that have ended."""
    return float(sum(process.cpu_times()[:4]))


@contextlib.contextmanager
def waiting(server: Server, *, wait: int = 25) -> Iterator[psutil.Process]:
    """An agent that has settled."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        argv = [
            str(GPROFILER), "--enable-heartbeat-server", "--service-name", "bench", "--api-server", server.url,
            "--wait", str(wait), "--output-dir", f"{home}/profiles", "--state-dir", f"{home}/state",
            "--heartbeat-log", f"{home}/heartbeat.log",
        ]  # fmt: skip
        with child(*argv) as agent:
            time.sleep(SETTLE_SECONDS)
            yield agent


def idle(server: Server, *, wait: int, seconds: float) -> dict[str, float]:
    """What an agent without work takes."""
    with waiting(server, wait=wait) as agent:
        beats, before, began = server.beats, cpu_of(agent), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        memory = agent.memory_full_info()
        return {
            "cpu_percent": 100 * (cpu_of(agent) - before) / took,
            "rss_mib": memory.rss / 2**20,
            "own_mib": memory.uss / 2**20,
            "beats": server.beats - beats,
            "seconds": took,
        }


def py_spy(seconds: float, frequency_hz: int, pids: Sequence[int], home: Path) -> list[list[str]]:
    options = ["record", "--nonblocking", "-f", "raw", "-r", str(frequency_hz), "-d", str(int(seconds))]
    return [[str(PY_SPY), *options, "-o", str(home / f"{pid}.raw"), "-p", str(pid)] for pid in pids]


def perf(seconds: float, frequency_hz: int, _pids: Sequence[int], home: Path) -> list[list[str]]:
    record = f"perf record -q -B -N -e cpu-clock -F {frequency_hz} -g -a -o {home}/perf.data -- sleep {int(seconds)}"
    return [["sh", "-c", f"{record} && perf script --no-inline -i {home}/perf.data > {home}/perf.txt"]]


ALONE: Final[dict[str, Callable[[float, int, Sequence[int], Path], list[list[str]]]]] = {
    "py-spy": py_spy,
    "perf": perf,
}
WAYS: Final = ("gprofiler", *ALONE)


class Stage:
    """The workload, and an agent that waits beside it all the time."""

    def __init__(self, workload: Workload, server: Server, agent: psutil.Process) -> None:
        self._workload = workload
        self._server = server
        self._agent = agent

    def window(self, way: str, seconds: float, *, frequency_hz: int = FREQUENCY_HZ) -> Window:
        """What the workload did from the profiler's start to its end, and what processor time that took."""
        began, done, used = time.monotonic(), self._workload.done(), self._workload.used()
        lost, spent = stolen(), self._spent()
        if way == "nothing":
            time.sleep(seconds)
        elif way == "gprofiler":
            self._server.submit(seconds, frequency_hz=frequency_hz)
            completion = self._server.completions.get(timeout=seconds + PATIENCE_SECONDS)
            if completion.get("status") != "completed":
                raise SystemExit(f"the agent failed: {completion.get('error_message')}")
            time.sleep(AFTERWARDS_SECONDS)
        else:
            self._run(way, seconds, frequency_hz)
        return Window(
            way=way, seconds=time.monotonic() - began, cores=os.cpu_count() or 1, done=self._workload.done() - done,
            used=self._workload.used() - used, stolen=stolen() - lost, spent=self._spent() - spent,
        )  # fmt: skip

    def _run(self, way: str, seconds: float, frequency_hz: int) -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as home:
            sink = subprocess.DEVNULL
            programs = ALONE[way](seconds, frequency_hz, self._workload.pids, Path(home))
            running = [subprocess.Popen(one, stdout=sink, stderr=sink, cwd=ROOT) for one in programs]
            for program in running:
                if program.wait() != 0:
                    raise SystemExit(f"{way} failed with exit code {program.returncode}")

    def _spent(self) -> float:
        """Seconds of processor time by the agent and by whatever it, or we, have started and has ended."""
        own = os.times()
        return cpu_of(self._agent) + own.children_user + own.children_system


def machine() -> dict[str, Any]:
    perf = shutil.which("perf")
    said = subprocess.run([perf, "--version"], capture_output=True, text=True, check=True).stdout if perf else "none"
    return {
        "cpu": next((line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")), "unknown"),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "perf": said.split()[-1],
        "packages": {name: metadata.version(name) for name in ("performance-studio", "py-spy", "httpx", "psutil")},
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    facts = machine()
    waits: dict[str, dict[str, float]] = {}
    windows: list[Window] = []
    magnified: list[Window] = []
    with served() as server:
        if given.idle_seconds:
            waits = {
                "held 25 s": idle(server, wait=25, seconds=given.idle_seconds),
                "every 30 s": idle(server, wait=0, seconds=given.idle_seconds),
            }
        if given.rounds or given.magnified_rounds:
            with Workload() as workload, waiting(server) as agent:
                stage = Stage(workload, server, agent)
                windows = [
                    stage.window(way, given.rest if way == "nothing" else given.seconds)
                    for way in order(given.way or WAYS, given.rounds, seed=given.seed)
                ]
                magnified = [
                    stage.window(way, given.rest, frequency_hz=FREQUENCY_HZ * given.magnified)
                    for way in order(given.way or WAYS, given.magnified_rounds, seed=given.seed)
                ]
    return {
        "machine": facts, "idle": waits, "windows": windows, "magnified": magnified, "times": given.magnified,
        "seconds": given.seconds,
    }  # fmt: skip


def told(measured: dict[str, Any]) -> str:
    facts = measured["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_average']:.1f}, {facts['system']}",
        f"Python {facts['python']}, perf {facts['perf']}, {packages}",
    ]
    if measured["idle"]:
        lines += ["", f"{'idle agent':<16}{'CPU of a core':>15}{'RSS MiB':>10}{'own MiB':>10}{'beats':>8}"]
        lines += [
            f"{name:<16}{one['cpu_percent']:>14.2f}%{one['rss_mib']:>10.1f}{one['own_mib']:>10.1f}{one['beats']:>8.0f}"
            for name, one in measured["idle"].items()
        ]
        worst = max(one["cpu_percent"] for one in measured["idle"].values())
        most = max(one["rss_mib"] for one in measured["idle"].values())
        lines.append(f"asked: at most {MOST_IDLE} % ({worst:.2f} %) and {MOST_MEMORY:.0f} MiB ({most:.1f} MiB)")
    if measured["windows"]:
        lines += ["", *busy(measured["windows"], measured["seconds"])]
    if measured["magnified"]:
        lines += ["", *sampling_itself(measured["magnified"], measured["times"])]
    return "\n".join(lines)


def busy(windows: Sequence[Window], seconds: float) -> list[str]:
    """Each way: the processor time it took, and how much slower the workload was, in all and by each factor."""
    title = f"{seconds:.0f} s at {FREQUENCY_HZ} Hz"
    heads = f"{'CPU s':>8}{'of the cores':>14}{'slower by':>28}{'less of the cores':>28}{'less speed':>28}"
    lines = [f"{title:<16}{'runs':>5}{heads}"]
    for way in dict.fromkeys(window.way for window in windows if window.way != "nothing"):
        mine = [window for window in windows if window.way == way]
        spent, taken = (estimate(values).median for values in ([w.spent for w in mine], [w.taken for w in mine]))
        factors = [
            estimate(slower(windows, way, by))
            for by in (lambda window: window.rate, lambda window: window.share, lambda window: window.speed)
        ]
        lines.append(
            f"{way:<16}{len(mine):>5}{spent:>8.2f}{taken:>13.2f}%" + "".join(f"{_shown(one):>28}" for one in factors)
        )
        if way == "gprofiler":
            verdict = WORDS[factors[0].within(MOST_SLOWER)], WORDS[factors[1].within(MOST_SLOWER)]
    still = [window for window in windows if window.way == "nothing"]
    spread = estimate([window.speed for window in still])
    least, most = (100 * edge([w.speed for w in still]) / spread.median - 100 for edge in (min, max))
    lines.append(f"with nothing the processor's own speed went from {least:+.1f} % to {most:+.1f} % of its median")
    if any(window.way == "gprofiler" for window in windows):
        lines.append(f"asked: slower by at most {MOST_SLOWER:.0f} %: {verdict[0]}; of the cores alone: {verdict[1]}")
    return lines


def sampling_itself(windows: Sequence[Window], times: int) -> list[str]:
    """What it costs a program to be sampled, so many times as often, by its own processor time; divided again."""
    lines = [f"sampled {times} times as often, a {times}th of the speed lost"]
    for way in dict.fromkeys(window.way for window in windows if window.way != "nothing"):
        lost = estimate([each / times for each in slower(windows, way, lambda window: window.speed)])
        lines.append(f"{way:<16}{_shown(lost):>28}")
    return lines


def _shown(one: Estimate) -> str:
    return f"{one.median:.2f}% ({one.low:.2f} to {one.high:.2f})"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of one profile; default: %(default)s")
    parser.add_argument("--rest", type=float, default=30.0, help="of nothing before and after; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="each with every way once; default: %(default)s")
    parser.add_argument("--way", action="append", choices=WAYS, help="measure this one; may be repeated")
    parser.add_argument("--magnified", type=int, default=20, metavar="TIMES", help="default: %(default)s")
    parser.add_argument(
        "--magnified-rounds", type=int, default=3, metavar="ROUNDS", help="at so many times 11 Hz; default: %(default)s"
    )
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="to watch an idle agent; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the order; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    measured = measure(given)
    if given.json:
        plain = measured | {name: [asdict(one) for one in measured[name]] for name in ("windows", "magnified")}
        print(json.dumps(plain, indent=2))
    else:
        print(told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
