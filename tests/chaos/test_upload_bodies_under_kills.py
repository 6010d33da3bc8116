"""Kill the API at any moment of an upload's body, and behind it: what is not answered is not there by halves.

No file is left, an upload that was answered is there, and one that comes again counts once.
"""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from formats import pprof
from profiles.objects import FORGOTTEN_AFTER_S, SPOOLED_IN_MEMORY, UNFINISHED
from profiles.shelves import RAW
from tests.support.api import Api, running_site
from tests.support.mortal_api import BEFORE_ITS_NAME, MOMENTS, mortal_role
from tests.support.processes import eventually, started
from tests.support.uploads import START, UPLOAD, asked, indexed

SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
STACKS: Final = 20_000
SERVICE: Final = "chaos"
TYPES: Final = {"agent": "application/json", "collapsed": "text/plain", "pprof": "application/vnd.google.protobuf"}
HEAD, BYTE, IN_MEMORY, ON_THE_DISK, BUT_ONE, ALL, ALL_BEFORE = POINTS = (
    "no byte", "a byte", "what is in memory", "what is on the disk", "all but a byte", "all", "all, a while ago",
)  # fmt: skip
"""What had come of an upload when the API was killed from outside; `MOMENTS` are those inside."""
ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", str(len(POINTS) + len(MOMENTS))))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_site(tmp_path, workers=True) as (running, _):
        yield running


def body(form: str, host: str) -> bytes:
    """An upload that is too large to be in memory while it comes. Each of its stacks counts 1."""
    stacks = [f"main;{host};a_function_with_a_name_that_is_quite_long;leaf_{number}" for number in range(STACKS)]
    if form == "pprof":
        counts = dict.fromkeys(stacks, 1)
        return pprof.encode(counts, pprof.cpu(99), started_at=START, duration=timedelta(seconds=9))
    lines = "\n".join(f"{stack} 1" for stack in stacks)
    if form == "collapsed":
        return lines.encode()
    told = {"hostname": host, "start_time": START.isoformat(), "end_time": START.isoformat(), "profile": lines}
    return json.dumps(told).encode()


class Uploader:
    """Sends one upload byte by byte, or as often as it is wanted."""

    def __init__(self, api: Api, form: str, host: str) -> None:
        self._api = api
        self.form = form
        self.host = host
        self.content = body(form, host)
        assert len(self.content) > SPOOLED_IN_MEMORY + 100_000
        when = START.isoformat()
        beside = {"format": form, "hostname": host, "start_time": when, "end_time": when} if form != "agent" else {}
        self._path = f"{UPLOAD}?{urlencode({'service': SERVICE, **beside})}"
        self._headers = {"Authorization": f"Bearer {api.agent}", "Content-Type": TYPES[form]}

    def until(self, many: int) -> socket.socket:
        """Send so many bytes of it. Gives the connection."""
        address = urlsplit(self._api.url)
        assert address.hostname is not None
        assert address.port is not None
        connection = socket.create_connection((address.hostname, address.port), timeout=60)
        head = {"Host": "a", **self._headers, "Content-Length": str(len(self.content))}
        lines = [f"POST {self._path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        connection.sendall(self.content[:many])
        return connection

    def answer(self) -> httpx.Response | None:
        """Send it whole. None: whoever it was sent to died of it."""
        with suppress(httpx.TransportError):
            return self._api.http.post(self._path, content=self.content, headers=self._headers)
        return None

    def stored(self) -> list[bytes]:
        """What is in the store of this host, as it was sent; found by nobody but who looks at the files."""
        files = [file for file in (self._api.state_dir / "profile-store" / RAW).rglob("*") if file.is_file()]
        parts = [file.read_bytes().partition(b"\n") for file in files]
        return [content for envelope, _, content in parts if json.loads(envelope)["host"] == self.host]


def killed_at(point: str, api: Api, upload: Uploader, dice: random.Random) -> bool:
    """Kill the API from outside once so much has come. Gives whether it had answered."""
    size = len(upload.content)
    many = {
        HEAD: 0, BYTE: 1, IN_MEMORY: dice.randrange(2, SPOOLED_IN_MEMORY),
        ON_THE_DISK: dice.randrange(SPOOLED_IN_MEMORY + 1, size - 1), BUT_ONE: size - 1,
    }.get(point, size)  # fmt: skip
    with upload.until(many) as connection:
        time.sleep(dice.uniform(0.2, 1.5) if point == ALL_BEFORE else dice.uniform(0, 0.2))
        api.role.kill()
        with suppress(ConnectionResetError):
            return connection.recv(1_000).startswith(b"HTTP/1.1 200")
    return False


def killed_inside(moment: str, api: Api, upload: Uploader) -> None:
    """Have the API kill itself at a moment after the last byte."""
    api.role.stop()
    with started(mortal_role(moment, api)) as mortal:
        eventually(api.is_ready, within=40, what="a mortal API")
        assert upload.answer() is None
        assert mortal.process.wait(30) == -9


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_an_upload_whose_api_is_killed_is_there_whole_or_not_at_all_and_counts_once(api: Api) -> None:
    dice = random.Random(SEED)
    story = [f"PCS_CHAOS_SEED={SEED}"]
    store = api.state_dir / "profile-store"
    hosts: list[str] = []
    left = 0
    for turn in range(ROUNDS):
        point = (*POINTS, *MOMENTS)[turn % (len(POINTS) + len(MOMENTS))]
        upload = Uploader(api, dice.choice([*TYPES]), f"h{turn}")
        story.append(f"{point}: {upload.form}")
        if point in MOMENTS:
            killed_inside(point, api, upload)
            is_answered, most = False, 0 if point == BEFORE_ITS_NAME else 1
            assert len(upload.stored()) == most, story
        else:
            is_answered, most = killed_at(point, api, upload, dice), 1 if point in {ALL, ALL_BEFORE} else 0
        left += point == BEFORE_ITS_NAME
        stored = upload.stored()
        story.append(f"answered: {is_answered}, stored: {len(stored)}")
        assert is_answered <= len(stored) <= most, story
        assert {*stored} <= {upload.content}, story
        unfinished = [file.name for file in store.rglob("*") if file.is_file() and not is_in_place(file, store)]
        assert all(name.startswith(UNFINISHED) for name in unfinished), story
        assert len(unfinished) >= left, story
        api.role.restart()
        eventually(api.is_ready, within=40, what="an API that is there again")
        if not stored:
            assert upload.host not in {item["hostname"] for item in asked(api, "profiles", SERVICE)["items"]}, story
        if not is_answered or dice.random() < 0.3:
            for _ in range(dice.randint(1, 2)):
                answer = upload.answer()
                assert answer is not None
                assert answer.status_code == 200, (story, answer.text)
                assert (answer.json()["stacks"], answer.json()["samples"]) == (STACKS, STACKS)
        hosts.append(upload.host)
    found = indexed(api, SERVICE, len(hosts))
    assert sorted(each["hostname"] for each in found) == sorted(hosts), story
    assert {each["samples"] for each in found} == {STACKS}, story
    assert asked(api, "flamegraph", SERVICE)["samples"] == STACKS * len(hosts), story
    check_swept(api, store)
    assert asked(api, "flamegraph", SERVICE)["samples"] == STACKS * len(hosts), story


def is_in_place(file: Path, store: Path) -> bool:
    """Whether a file is where a kind of files of an hour is: kind, tenant, service, day, hour."""
    return len(file.relative_to(store).parts) == 6


def check_swept(api: Api, store: Path) -> None:
    """What was left unfinished goes with the first pass an hour later, and no sooner."""
    unfinished = [*store.glob(f"{UNFINISHED}*")]
    tend = [sys.executable, "-m", "workers.reindex_profiles", "compact"]
    env = {**os.environ, "PCS_STATE_DIR": str(api.state_dir)}
    subprocess.run(tend, env=env, check=True, capture_output=True)
    assert [*store.glob(f"{UNFINISHED}*")] == unfinished
    for file in unfinished:
        then = file.stat().st_mtime - FORGOTTEN_AFTER_S - 60
        os.utime(file, (then, then))
    subprocess.run(tend, env=env, check=True, capture_output=True)
    assert not [*store.glob(f"{UNFINISHED}*")]
