"""Compaction: a host that was given up on may come back, still at work on what nobody wants any more."""

from dataclasses import replace

import pytest

from broker.compaction import compact
from broker.effective import Effective
from protocol.commands import StartCommand, StopCommand
from protocol.lifecycle import State
from tests.support.builders import NOW, a_start, a_stop
from tests.support.compacting import installed, kept, running


def a_lost_run(*, is_back: bool, **asked: object) -> Effective:
    """A run that was given up on; its requests have their outcome."""
    at_work = running(installed(compact([a_start(**asked)], None, NOW)))
    return replace(at_work, state=State.LOST, request_ids=(), back_at_work=is_back)


@pytest.mark.parametrize("continuous", [True, False])
def test_an_agent_that_is_back_at_work_is_told_to_stop_once(continuous: bool) -> None:
    lost = a_lost_run(is_back=True, continuous=continuous)
    stop = installed(compact([], lost, NOW + 300))
    assert isinstance(stop.command, StopCommand)
    assert (stop.request_ids, stop.generation) == ((), lost.generation + 1)
    assert kept(compact([], stop, NOW + 301)) == stop
    done = replace(stop, state=State.COMPLETED)
    assert compact([], done, NOW + 302).install is None


def test_a_host_that_stays_silent_is_told_nothing() -> None:
    compacted = compact([], a_lost_run(is_back=False, continuous=True), NOW + 300)
    assert (compacted.install, compacted.keep, compacted.close) == (None, None, None)


@pytest.mark.parametrize("is_back", [True, False])
def test_a_newer_start_takes_the_place_of_a_stop_and_a_stop_follows_where_it_ends_untaken(is_back: bool) -> None:
    newer = a_start(accepted_at=NOW + 300, expires_at=NOW + 400)
    first = compact([newer], a_lost_run(is_back=is_back, continuous=True), NOW + 300)
    assert isinstance(installed(first).command, StartCommand)
    after = compact(first.open_requests, installed(first), NOW + 400)
    assert after.endings[0].outcome is State.EXPIRED
    assert isinstance(installed(after).command, StopCommand)


def test_a_stop_that_was_lost_is_told_anew() -> None:
    stop = installed(compact([a_stop()], running(installed(compact([a_start()], None, NOW))), NOW))
    lost = replace(stop, state=State.LOST, request_ids=(), back_at_work=True)
    again = installed(compact([], lost, NOW + 300))
    assert isinstance(again.command, StopCommand)
    assert again.command_id != stop.command_id, "an agent never carries out the same id twice"
