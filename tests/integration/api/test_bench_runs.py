"""The benchmarks run and measure what they say; how fast is another matter, how much memory is not."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from bench import bad_tokens, history, load, memory, page
from broker.connection import Broker
from broker.host_registry import HostRegistry
from protocol.names import HostKey
from tests.support.browser import chromium
from tests.support.processes import ROOT

HEARTBEATS = ROOT / "bench" / "heartbeats.py"


@pytest.fixture(scope="module")
def heartbeats() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_heartbeats", HEARTBEATS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_tiny_run_measures_both_servers_and_leaves_nothing_behind(heartbeats: ModuleType) -> None:
    tiny = ["--connections", "4", "--hosts", "8", "--many", "0"]
    tiny += ["--rounds", "1", "--seconds", "5", "--most", "50", "--json"]
    done = subprocess.run(
        [sys.executable, str(HEARTBEATS), *tiny], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    measured = json.loads(done.stdout)
    for name in ("api", "constant"):
        one = measured[name]
        assert 50 <= one["answers"] <= 50 + 4, "every connection has at most one heartbeat under way"
        assert one["per_second"] > 0
        assert 0 < one["ms"]["p50"] <= one["ms"]["p99"] <= one["ms"]["max"]
    assert measured["ratio"] == [pytest.approx(measured["api"]["per_second"] / measured["constant"]["per_second"])] * 3
    assert measured["machine"]["cores"] >= 1
    table = heartbeats.told(measured).splitlines()
    rows = [line.split("  ")[0] for line in table if line.startswith(("api", "constant"))]
    assert rows == ["constant", "api, 8 hosts"]
    many = {"api_many": measured["api"], "ratio_many": (0.3, 0.2, 1.0), "load": measured["load"] | {"many": 9_000}}
    assert "with 9,000 hosts it serves 30.0% (20.0% to 100.0%) of that" in heartbeats.told(measured | many)
    two = {"api_workers": measured["api"], "ratio_workers": (1.5, 1.4, 1.6), "load": measured["load"] | {"workers": 2}}
    told = heartbeats.told(measured | two)
    assert "with 2 workers it serves 150.0% (140.0% to 160.0%) of what it does with one" in told
    few = two | {"load": measured["load"] | {"workers": 2, "core": 0.25}}
    assert "each server process was bounded to 25% of a core" in heartbeats.told(measured | few)


def test_a_bounded_process_has_its_share_of_a_core_until_the_end(heartbeats: ModuleType) -> None:
    groups: Path = heartbeats.CPU_GROUPS
    if not os.access(groups / "cgroup.procs", os.W_OK):
        with (
            pytest.raises(SystemExit, match="--core needs root and cgroup v1"),
            heartbeats.bounded(psutil.Process(), 0.1),
        ):
            pass
        return
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with heartbeats.bounded(psutil.Process(busy.pid), 0.1):
            before = heartbeats.spent(psutil.Process(busy.pid))
            time.sleep(2)
            assert 0 < heartbeats.spent(psutil.Process(busy.pid)) - before < 0.5
            assert (groups / f"bench-{busy.pid}").is_dir()
        assert not (groups / f"bench-{busy.pid}").exists()
    finally:
        busy.kill()
        busy.wait()


def test_a_ratio_is_of_rounds_beside_each_other(heartbeats: ModuleType) -> None:
    slow, quick = [{"per_second": rate} for rate in (10, 30, 20)], [{"per_second": rate} for rate in (20, 50, 100)]
    assert heartbeats.ratio(slow, quick) == (0.5, 0.2, 0.6)


def test_a_tiny_run_measures_the_page_in_a_browser(capsys: pytest.CaptureFixture[str]) -> None:
    chromium()
    assert page.main(["--hosts", "900", "--tabs", "2", "--seconds", "1", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["one"]["first_rows_ms"] > 0
    assert measured["all"]["first_rows_ms"] >= measured["one"]["first_rows_ms"]
    for name in ("one", "all"):
        assert 0 <= measured[name]["main_thread"]["median"] <= measured[name]["main_thread"]["most"] < 1
    assert measured["alone"]["beats_per_second"] > 1, "900 hosts beat 30 times"
    rows = [line.split("  ")[0] for line in page.told(measured).splitlines() if "%" in line]
    assert rows == ["no tab", "one tab", "2 tabs"]


class Server(asyncio.Protocol):
    """Answers each call with what it is told to; counts connections, and closes each that rests for so long (s)."""

    rest = 1.0

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.connections = 0
        self.status = b"200"
        self._transport: Any = None
        self._closes: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.connections += 1

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)
        if self._closes is not None:
            self._closes.cancel()
        self._transport.write(b"HTTP/1.1 %b \r\ncontent-length: 2\r\n\r\n{}" % self.status)
        self._closes = asyncio.get_running_loop().call_later(self.rest, self._transport.close)


async def test_a_turn_goes_on_with_the_hosts_that_come_next_on_another_connection_if_need_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "IDLE_SECONDS", 0.5)
    server = Server()
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 0)
    async with listener:
        plan = load.Plan(port=listener.sockets[0].getsockname()[1], token="t", connections=1, hosts=3)
        connections = list(load.connections_of(plan))
        requests = [load.heartbeat(plan, number) for number in range(3)]
        for most, after in ((2, 0.0), (3, 1.5), (1, 0.0)):
            measured = await load.measure(plan, connections, load.Turn(seconds=10, most=most))
            assert measured["answers"] == most
            assert measured["other_answers"] == {}
            await asyncio.sleep(after)
        assert server.calls == [*requests, *requests]
        assert server.connections == 2
        server.status = b"503"
        measured = await load.measure(plan, connections, load.Turn(seconds=0.5, most=9))
        assert measured["answers"] == 0
        assert measured["other_answers"]["503"] > 0
        await connections[0].close()


async def test_strangers_send_in_their_turns_only() -> None:
    server = Server()
    server.rest = 20.0
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 0)
    async with listener:
        plan = load.Plan(port=listener.sockets[0].getsockname()[1], token="t", connections=1, hosts=1, strangers=1)
        _, *connections = load.connections_of(plan)
        for with_strangers in (False, True, False, True):
            server.calls.clear()
            turn = load.Turn(seconds=0.5, most=9, with_strangers=with_strangers)
            measured = await load.measure(plan, connections, turn)
            assert bool(server.calls) is with_strangers
            assert all(b"Bearer pcs_" in each for each in server.calls)
            assert (sum(measured["bad_answers"].values()) > 1) is with_strangers, "one may be from the turn before"
        await connections[0].close()


def test_a_tiny_run_tells_bad_tokens_from_good_ones() -> None:
    tiny = ["--connections", "4", "--hosts", "8", "--rounds", "1", "--seconds", "5", "--most", "70", "--json"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "bad_tokens.py"), *tiny], capture_output=True, text=True, timeout=90,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["good"]["bad_answers"] == {}
    assert set(measured["flooded"]["bad_answers"]) <= {"401", "429"}
    assert sum(measured["flooded"]["bad_answers"].values()) > 0
    bad = measured["mixed"]["bad_answers"]
    assert set(bad) <= {"401", "429"}
    assert 25 <= sum(bad.values()) <= 35, "three bad ones for seven good ones"
    for name, kept in measured["kept"].items():
        ratio = measured[name]["per_second"] / measured["good"]["per_second"]
        assert kept == [pytest.approx(ratio), None], "by rounds beside each other: there is one"
        ratio = measured["good"]["cpu_us"] / measured[name]["cpu_us"]
        assert measured["kept_by_cpu"][name] == [pytest.approx(ratio), None]


def test_what_is_kept_is_told_with_how_sure_it_is() -> None:
    beside, alone = [{"rate": rate} for rate in (8, 18, 28)], [{"rate": rate} for rate in (10, 20, 35)]
    found = bad_tokens.kept(beside, alone, "rate")
    assert found.mean == pytest.approx(2.5 / 3)
    assert found.error == pytest.approx(0.0333, abs=1e-4)
    assert bad_tokens.share(found) == "83.3% (standard error 3.3)"


async def test_the_hosts_that_are_introduced_are_those_that_beat(heartbeats: ModuleType, broker: Broker) -> None:
    await heartbeats.introduce(broker.settings, 20)
    known = {host.key: host async for host in HostRegistry(broker).all_of("default")}
    plan = load.Plan(port=1, token="t", connections=1, hosts=20)
    for number in range(20):
        body = json.loads(load.heartbeat(plan, number).partition(b"\r\n\r\n")[2])
        host = known.pop(HostKey("default", body["service_name"], body["hostname"]))
        assert "capabilities" in host.facts
        assert host.facts["ip_address"] == body["ip_address"], "the broker needs not be told again"
    assert known == {}


def test_a_tiny_run_measures_completions_with_two_pasts(capsys: pytest.CaptureFixture[str]) -> None:
    assert history.main(["--few", "3", "--many", "250", "--completions", "2", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    for subject in ("host", "service"):
        for past in ("few", "many"):
            times = measured[past][subject]
            assert 0 < times["p50"] <= times["p90"] <= times["p99"]
        assert measured["ratio"][subject]["p50"] == pytest.approx(
            measured["many"][subject]["p50"] / measured["few"][subject]["p50"]
        )
    assert "on a host with 250 in the past" in history.table(measured)


def test_a_tiny_run_weighs_hosts_and_they_keep_within_their_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.main(["--hosts", "300", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    idle, pending = measured["idle"], measured["pending"]
    assert {"host", "beats"} <= set(idle["by_kind"])
    assert {"host", "command", "open", "results", "hosts"} <= set(pending["by_kind"])
    assert idle["bytes_per_host"] == pytest.approx(sum(idle["by_kind"].values()), abs=0.1)
    assert idle["keys_per_host"] < pending["keys_per_host"]
    assert idle["bytes_per_host"] <= memory.IDLE_TARGET
    assert pending["without_record"] <= memory.PENDING_TARGET
    assert "in all" in memory.table(measured)


@pytest.mark.parametrize("wrong", ["--connections", "--hosts", "--many", "--rounds", "--seconds", "--most"])
def test_a_number_that_makes_no_sense_is_refused(
    heartbeats: ModuleType, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        heartbeats.options([wrong, "-1"])
    assert refused.value.code == 2
    assert "positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bench", "wrong"),
    [(history, "--few"), (history, "--many"), (history, "--completions"), (memory, "--hosts")],
    ids=["few", "many", "completions", "hosts"],
)
def test_a_count_of_nothing_is_refused(bench: ModuleType, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        bench.main([wrong, "0"])
    assert refused.value.code == 2
    assert "positive" in capsys.readouterr().err
