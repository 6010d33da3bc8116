"""rq's worker shows that it lives, and a stop that comes meanwhile is not lost."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import fakeredis
import pytest
import redis
from rq.exceptions import StopRequested

from workers import job_queue
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


def test_a_worker_that_ends_without_being_told_to_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[StudioWorker] = []

    def work(self: StudioWorker, **_: object) -> bool:
        begun.append(self)
        if len(begun) == 1:
            raise redis.exceptions.ConnectionError
        self.is_told_to_stop = len(begun) == 3
        return False

    monkeypatch.setattr(StudioWorker, "work", work)
    monkeypatch.setattr(redis.Redis, "from_url", lambda *_, **__: fakeredis.FakeRedis())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        job_queue.work("redis://nowhere", lambda _: None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(set(map(id, begun))) == 3


def test_a_worker_that_is_told_to_stop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = StudioWorker(fakeredis.FakeRedis(), lambda _: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(StopRequested):
            worker.request_stop(signal.SIGTERM, None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert worker.is_told_to_stop
