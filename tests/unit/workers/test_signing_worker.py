"""rq's worker shows that it lives, and a stop that comes meanwhile is not lost."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import fakeredis
import pytest
from rq.exceptions import StopRequested

from workers.job_queue import StudioWorker


def stops(*_: object) -> None:
    raise StopRequested


def test_a_stop_while_it_signs_is_heard_afterwards() -> None:
    told: list[str] = []

    def sign(_facts: Mapping[str, Any]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            told.append("signed")
        except Exception:  # noqa: BLE001 - as a client does that takes whatever is raised for a broken connection
            told.append("swallowed")

    worker = StudioWorker(fakeredis.FakeRedis(), sign)
    before = signal.signal(signal.SIGTERM, stops)
    try:
        with pytest.raises(StopRequested):
            worker.heartbeat()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == ["signed"]


def test_it_does_not_sign_several_times_a_job() -> None:
    told: list[Mapping[str, Any]] = []
    worker = StudioWorker(fakeredis.FakeRedis(), told.append)
    for _ in range(5):
        worker.heartbeat()
    assert told == [{"behind": 0}]
