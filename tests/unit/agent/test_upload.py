import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.parcel import Sender, pack
from agent.spool import Spool
from agent.spool_limits import SpoolLimits
from agent.transport import Refused, TransportError, Unreachable
from agent.upload import Uploader
from tests.support.agents import soon
from tests.support.fake_capture import NOW, a_profile

SENDER = Sender(hostname="web-01", service_name="web", agent_version="1.2", spawned_at=NOW)


class Server:
    """What is asked of a transport, answered by a script; then everything is taken."""

    def __init__(self, *script: TransportError) -> None:
        self.script = [*script]
        self.seen: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    async def upload(self, content: bytes, *, name: str, sender: Sender) -> str | None:
        assert content
        assert sender is SENDER
        self.seen.append(name)
        await self.held.wait()
        if self.script:
            raise self.script.pop(0)
        return f"at/{name}"


class Case:
    def __init__(self, path: Path, *script: TransportError, **limits: Any) -> None:
        self.server = Server(*script)
        self.stopping = asyncio.Event()
        self.spool = Spool(path / "spool", SpoolLimits(**limits))
        self.uploader = Uploader(self.server, self.spool, SENDER, cap=timedelta(milliseconds=1), stopping=self.stopping)


@contextlib.asynccontextmanager
async def running(case: Case) -> AsyncIterator[Case]:
    task = asyncio.create_task(case.uploader.run())
    try:
        yield case
    finally:
        case.stopping.set()
        await asyncio.wait_for(task, 5)


def refused(status: int) -> Refused:
    return Refused(status, retry_after=None, detail="as told")


async def test_a_profile_is_uploaded_and_its_place_is_known(tmp_path: Path) -> None:
    async with running(Case(tmp_path)) as case:
        await case.uploader.keep(a_profile(3), name="a")
        assert await case.uploader.place_of("a", within=timedelta(seconds=5)) == "at/a"
        await soon(lambda: case.spool.waiting() == [])


async def test_what_an_earlier_process_left_is_uploaded_oldest_first(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.spool.put("b", b"2")
    case.spool.put("a", b"1")
    async with running(case):
        await soon(lambda: case.spool.waiting() == [])
    assert case.server.seen == ["a", "b"]


async def test_a_server_that_is_away_is_tried_again_and_nobody_waits_for_it(tmp_path: Path) -> None:
    case = Case(tmp_path, *(Unreachable("away") for _ in range(3)))
    case.server.held.clear()
    async with running(case):
        await case.uploader.keep(a_profile(3), name="a")
        asked = asyncio.create_task(case.uploader.place_of("a", within=timedelta(seconds=60)))
        await soon(lambda: case.server.seen)
        case.server.held.set()
        assert await asyncio.wait_for(asked, 5) is None
        await soon(lambda: case.spool.waiting() == [])
    assert case.server.seen == ["a"] * 4


async def test_a_profile_that_is_refused_for_good_holds_up_no_other(tmp_path: Path) -> None:
    case = Case(tmp_path, refused(413))
    case.spool.put("a", b"1")
    case.spool.put("b", b"2")
    async with running(case):
        await soon(lambda: case.spool.waiting() == [])
    assert case.server.seen == ["a", "b"]
    assert case.uploader.news() == ("profile a is not uploaded: the server refuses it (413: as told)",)


@pytest.mark.parametrize("status", [401, 403, 408, 429, 503])
async def test_what_may_pass_is_tried_again(tmp_path: Path, status: int) -> None:
    case = Case(tmp_path, refused(status), refused(status))
    case.spool.put("a", b"1")
    case.spool.put("b", b"2")
    async with running(case):
        await soon(lambda: case.spool.waiting() == [])
    assert case.server.seen == ["a", "a", "a", "b"]


async def test_a_profile_that_the_server_chokes_on_holds_up_no_other_and_is_given_up_on(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.spool.put("a", b"1")
    case.spool.put("b", b"2")

    async def choke(content: bytes, *, name: str, sender: Sender) -> str | None:
        case.server.seen.append(name)
        if name == "a":
            raise refused(500)
        return None

    case.server.upload = choke  # type: ignore[method-assign] # this server's own way to answer
    async with running(case):
        await soon(lambda: case.spool.waiting() == [], within=20)
    assert case.server.seen.count("b") == 1
    assert case.server.seen.count("a") == 20
    assert "500" in case.uploader.news()[0]


async def test_a_server_that_takes_no_profiles_is_left_alone_until_it_is_another(tmp_path: Path) -> None:
    case = Case(tmp_path, refused(404), profiles=1)
    async with running(case):
        await case.uploader.keep(a_profile(3), name="a")
        assert await case.uploader.place_of("a", within=timedelta(seconds=60)) is None
        await case.uploader.keep(a_profile(3), name="b")
        assert case.uploader.news() == (), "nobody is to be told of what gave way"
        await asyncio.sleep(0.05)
        assert case.server.seen == ["a"]
        case.uploader.retry_now()
        await soon(lambda: case.spool.waiting() == [])
    assert case.server.seen == ["a", "b"]


async def test_a_profile_that_cannot_be_kept_is_an_error_of_whoever_has_it(tmp_path: Path) -> None:
    case = Case(tmp_path, bytes=10)
    with pytest.raises(OSError, match="may wait"):
        await case.uploader.keep(a_profile(3), name="a")


def test_the_body_is_what_agents_of_the_field_send() -> None:
    content = pack(
        {"format": "collapsed", "samples": 3, "kernel": "6.1"}, ";python;main 3\n",
        sender=SENDER, started_at=NOW, finished_at=NOW + timedelta(seconds=60, milliseconds=5),
    )  # fmt: skip
    body = json.loads(gzip.decompress(content))
    assert {key: value for key, value in body.items() if key != "profile"} == {
        "start_time": "2026-01-02T03:04:05", "end_time": "2026-01-02T03:05:05", "hostname": "web-01", "cpu_avg": None,
        "mem_avg": None, "spawn_time": "2026-01-02T03:04:05", "gpid": "",
    }  # fmt: skip
    first, _, rest = body["profile"].partition("\n")
    assert rest == ";python;main 3\n"
    facts = json.loads(first.removeprefix("# "))
    assert (facts["samples"], facts["containers"], facts["service_name"]) == (3, [], "web")
    assert facts["metadata"]["hostname"] == "web-01"
    assert facts["metadata"]["agent_version"] == "1.2"
    assert "format" not in facts, "on the host there is no column for the container"


async def test_each_stack_is_uploaded_with_the_container_that_it_ran_in(tmp_path: Path) -> None:
    case = Case(tmp_path)
    profile = replace(
        a_profile(5), stacks={"web;main": 5},
        by_container={"": {"web;main": 1}, "a;b": {"web;main": 3}, "k8s_app_p_n_0_0": {"web;main": 1}},
    )  # fmt: skip
    await case.uploader.keep(profile, name="a")
    body = json.loads(gzip.decompress(case.spool.read("a") or b""))["profile"]
    first, *stacks = body.splitlines()
    assert stacks == [";web;main 1", "a:b;web;main 3", "k8s_app_p_n_0_0;web;main 1"]
    facts = json.loads(first.removeprefix("# "))
    assert (facts["containers"], facts["container_names_enabled"]) == (["a;b", "k8s_app_p_n_0_0"], True)


async def test_without_containers_the_column_is_there_and_empty(tmp_path: Path) -> None:
    case = Case(tmp_path)
    await case.uploader.keep(a_profile(3), name="a")
    body = json.loads(gzip.decompress(case.spool.read("a") or b""))["profile"]
    assert body.splitlines()[1:] == [";python;main 3"]
    assert not json.loads(body.partition("\n")[0].removeprefix("# "))["container_names_enabled"]


def test_the_same_profile_is_the_same_bytes() -> None:
    one, other = (pack({}, "a 1\n", sender=SENDER, started_at=NOW, finished_at=NOW) for _ in range(2))
    assert one == other
