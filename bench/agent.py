"""What the agent costs a host: idle, and while it profiles, beside py-spy and perf alone.

    .venv/bin/python bench/agent.py

Root is needed to profile. See bench/README.md.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

import psutil

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from agent.transport import HEARTBEAT_PATH  # noqa: E402 -- found by the line above
from bench.stage import PATIENCE_SECONDS, cpuinfo  # noqa: E402 -- found by the line above

GPROFILER: Final = Path(sys.executable).with_name("gprofiler")
PY_SPY: Final = Path(sys.executable).with_name("py-spy")
SETTLE_SECONDS: Final = 8.0
ASKED: Final = "asked: idle at most 0.3 % ({cpu:.2f} %) and 60 MiB ({memory:.1f} MiB); profiling slows by at most 2 %"
HEADS: Final = "slower p50   least    most  by its own CPU  CPU s p50  of the cores"
TABLE: Final = "{way:<19}{p50:>11.2f}%{least:>7.2f}%{most:>7.2f}%{inside:>15.2f}%{cpu:>11.2f}{share:>13.2f}%"


class Server(ThreadingHTTPServer):
    """Stands for a studio: holds a heartbeat as long as it may, or until there is a command."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.beats = 0
        self.completions: queue.Queue[dict[str, Any]] = queue.Queue()
        self._command: dict[str, Any] | None = None
        self._news = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def submit(self, seconds: float) -> None:
        """Have the agent profile the whole host."""
        config = {"duration": int(seconds), "frequency": 11, "continuous": False}
        command = {"command_type": "start", "combined_config": config}
        with self._news:
            self._command = {"profiling_command": command, "command_id": uuid.uuid4().hex, "generation": 1}
            self._news.notify_all()

    def answer(self, beat: dict[str, Any], wait: int) -> dict[str, Any]:
        """What a heartbeat gets: the command, until the agent has named it."""
        self.beats += 1
        with self._news:
            if self._command is not None and beat.get("last_command_id") == self._command["command_id"]:
                self._command = None
            if self._command is None and wait:
                self._news.wait(wait)
            nothing = {"profiling_command": None, "command_id": None}
            return {"success": True, "message": "ok", "heartbeat_interval": 30, **(self._command or nothing)}

    def hush(self) -> None:
        """Hold nothing any longer."""
        with self._news:
            self._news.notify_all()


class Answer(BaseHTTPRequestHandler):
    """A heartbeat, or a completion."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        prefer = self.headers.get("Prefer", "")
        if self.path.startswith(HEARTBEAT_PATH):
            reply = self.server.answer(body, int(prefer.removeprefix("wait=") or 0))
        else:
            self.server.completions.put(body)
            reply = {"success": True, "message": "recorded"}
        content = json.dumps(reply).encode()
        self.send_response(200)
        if prefer:
            self.send_header("Preference-Applied", prefer)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(BrokenPipeError):  # an agent that was told to end does not wait for its answer
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.hush()
            server.shutdown()


@contextlib.contextmanager
def child(*argv: str, quiet: bool = True) -> Iterator[psutil.Process]:
    sink = subprocess.DEVNULL if quiet else None
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


def work(counter: Any) -> None:
    """Count rounds of arithmetic, for ever: what a profiler takes is missing here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        total = 0
        for step in range(5_000):
            total += step * step
        counter.value += 1


class Workload:
    """One busy Python for each core."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._counters = [context.Value("q", 0, lock=False) for _ in range(os.cpu_count() or 1)]
        self._processes = [context.Process(target=work, args=(counter,), daemon=True) for counter in self._counters]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        while not all(counter.value for counter in self._counters):
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def done(self) -> int:
        return sum(counter.value for counter in self._counters)

    def used(self) -> float:
        return sum(cpu_of(psutil.Process(pid)) for pid in self.pids)


def py_spy(seconds: float, pids: Sequence[int], home: Path) -> list[list[str]]:
    options = ["record", "--nonblocking", "-f", "raw", "-r", "11", "-d", str(int(seconds))]
    return [[str(PY_SPY), *options, "-o", str(home / f"{pid}.raw"), "-p", str(pid)] for pid in pids]


def perf(seconds: float, _pids: Sequence[int], home: Path) -> list[list[str]]:
    record = f"perf record -q -B -N -e cpu-clock -F 11 -g -a -o {home}/perf.data -- sleep {int(seconds)}"
    return [["sh", "-c", f"{record} && perf script --no-inline -i {home}/perf.data > {home}/perf.txt"]]


ALONE: Final[dict[str, Callable[[float, Sequence[int], Path], list[list[str]]]]] = {
    "nothing": lambda *_: [],
    "py-spy alone": py_spy,
    "perf alone": perf,
}
WAYS: Final = ("nothing", "gprofiler", "py-spy alone", "perf alone")


class Stage:
    """The workload, and an agent that waits beside it all the time."""

    def __init__(self, workload: Workload, server: Server, agent: psutil.Process) -> None:
        self._workload = workload
        self._server = server
        self._agent = agent

    def profiled(self, way: str, seconds: float) -> dict[str, float]:
        """How fast the workload went from the profiler's start to its end, and what CPU time that took."""
        began, before, spent = time.monotonic(), self._workload.done(), self._spent()
        used = self._workload.used()
        if way == "gprofiler":
            self._server.submit(seconds)
            completion = self._server.completions.get(timeout=seconds + PATIENCE_SECONDS)
            if completion.get("status") != "completed":
                raise SystemExit(f"the agent failed: {completion.get('error_message')}")
        else:
            self._run(way, seconds)
        took = time.monotonic() - began
        return {
            "rate": (self._workload.done() - before) / took,
            "rate_of_cpu": (self._workload.done() - before) / (self._workload.used() - used),
            "cpu_seconds": self._spent() - spent,
            "seconds": took,
            "rss_mib": self._agent.memory_info().rss / 2**20,
        }

    def _run(self, way: str, seconds: float) -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as home:
            sink = subprocess.DEVNULL
            programs = ALONE[way](seconds, self._workload.pids, Path(home))
            running = [subprocess.Popen(one, stdout=sink, stderr=sink, cwd=ROOT) for one in programs]
            for program in running:
                if program.wait() != 0:
                    raise SystemExit(f"{way} failed with exit code {program.returncode}")
        if not running:
            time.sleep(seconds)

    def _spent(self) -> float:
        """Seconds of CPU by the agent, by what it started, and by what we did."""
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


def measure(*, seconds: float, rounds: int, idle_seconds: float) -> dict[str, Any]:
    facts = machine()
    with served() as server:
        waits = {
            "held 25 s": idle(server, wait=25, seconds=idle_seconds),
            "every 30 s": idle(server, wait=0, seconds=idle_seconds),
        }
        seen: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        if rounds:
            with Workload() as workload, waiting(server) as agent:
                stage = Stage(workload, server, agent)
                for turn in range(rounds):
                    for way in (*WAYS[turn % len(WAYS) :], *WAYS[: turn % len(WAYS)]):
                        seen[way].append(stage.profiled(way, seconds))
    return {"machine": facts, "idle": waits, "busy": seen, "seconds": seconds}


def slowdowns(busy: dict[str, list[dict[str, float]]], rate: str = "rate") -> dict[str, list[float]]:
    """Per way and round, by how many percent the workload was slower than with nothing in the same round."""
    plain = [one[rate] for one in busy["nothing"]]
    return {
        way: [100 * (1 - one[rate] / alone) for one, alone in zip(rounds, plain, strict=True)]
        for way, rounds in busy.items()
        if way != "nothing"
    }


def told(measured: dict[str, Any]) -> str:
    facts = measured["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    lines = [
        f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_average']:.1f}, {facts['system']}",
        f"Python {facts['python']}, perf {facts['perf']}, {packages}",
        "",
        f"{'idle agent':<16}{'CPU of a core':>15}{'RSS MiB':>10}{'own MiB':>10}{'beats':>8}",
    ]
    for name, one in measured["idle"].items():
        lines.append(
            f"{name:<16}{one['cpu_percent']:>14.2f}%{one['rss_mib']:>10.1f}{one['own_mib']:>10.1f}{one['beats']:>8.0f}"
        )
    if measured["busy"]["nothing"]:
        lines += [
            "",
            f"{measured['seconds']:>3.0f} s at 11 Hz{'':<6}  {HEADS}",
        ]
        lines += rows(measured)
    worst = max(measured["idle"].values(), key=lambda one: one["cpu_percent"])
    lines += [
        "",
        ASKED.format(cpu=worst["cpu_percent"], memory=max(one["rss_mib"] for one in measured["idle"].values())),
    ]
    return "\n".join(lines)


def rows(measured: dict[str, Any]) -> list[str]:
    lines = []
    for way, percents in slowdowns(measured["busy"]).items():
        taken = measured["busy"][way]
        cpu = statistics.median(one["cpu_seconds"] for one in taken)
        share = statistics.median(100 * one["cpu_seconds"] / one["seconds"] for one in taken)
        lines.append(
            TABLE.format(
                way=way,
                p50=statistics.median(percents),
                least=min(percents),
                most=max(percents),
                inside=statistics.median(slowdowns(measured["busy"], "rate_of_cpu")[way]),
                cpu=cpu,
                share=share / measured["machine"]["cores"],
            )
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of one profile (60)")
    parser.add_argument("--rounds", type=int, default=3, help="each with every profiler and with none (3)")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="over which an idle agent is watched (60)")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON")
    given = parser.parse_args()
    measured = measure(seconds=given.seconds, rounds=given.rounds, idle_seconds=given.idle_seconds)
    sys.stdout.write((json.dumps(measured, indent=2) if given.json else told(measured)) + "\n")


if __name__ == "__main__":
    main()
