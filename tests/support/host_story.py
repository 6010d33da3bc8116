"""A host with a perfect store, as a state machine: requests come, compaction settles, an agent acts, time passes.

It does by the rules of `beat.lua` and `complete.lua` what those do to a command, and after every settling it holds
compaction to its laws. What ought to be profiled it works out by itself, from the wishes in the order of their arrival.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker import compaction
from broker.codec import read_effective, read_open, write_effective, write_open
from broker.effective import GRACE_SECONDS, Compacted, Effective, Ending, OpenRequest
from broker.folding import JOIN_TOLERANCE_SECONDS
from protocol.commands import StartCommand
from protocol.lifecycle import OPEN, State
from tests.support.builders import NOW
from tests.support.wishes import UNIVERSE, own_keys, starts, stops, wants

TAKEN = (State.DELIVERED, State.RECEIVED, State.RUNNING)
MODES = ("cpu", "cpu", "cpu", "wall")


class HostStory(RuleBasedStateMachine):
    """One host's life."""

    lead = 0.0
    """How many seconds before its moment the agent is told of a start; 0 for one that cannot wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.wishes: list[OpenRequest] = []
        self.arrived: list[OpenRequest] = []
        self.open: dict[str, OpenRequest] = {}
        self.outcomes: dict[str, State] = {}
        self.effective: Effective | None = None
        self.ids_used: list[str] = []
        self.served: dict[str, float] = {}
        self.withdrawn: dict[str, str] = {}
        self.void: set[str] = set()
        self.agent_holds: str | None = None
        self.is_away = False
        self.is_settled = True

    # --- what happens ---

    @rule(
        wish=starts(
            modes=MODES, args=own_keys(st.integers(0, 3)), expires_in=st.sampled_from([5.0, 900.0]),
            waits=(None, None, None, 2.0, 30.0, 100.0),
        )
    )  # fmt: skip
    def submit_a_start(self, wish: OpenRequest) -> None:
        self._submit(wish, lasts=wish.expires_at - NOW)

    @precondition(lambda self: self.wishes)
    @rule(which=st.integers(0, 1_000))
    def cancel_a_request(self, which: int) -> None:
        """Any of them, ended ones too."""
        self.withdrawn[self.wishes[-1 - which % min(4, len(self.wishes))].request_id] = "cancelled"
        self.is_settled = False

    @rule(wish=stops())
    def submit_a_stop(self, wish: OpenRequest) -> None:
        self._submit(wish, lasts=1e6)

    def _submit(self, wish: OpenRequest, *, lasts: float) -> None:
        number = len(self.wishes)
        later = wish.not_before - NOW if wish.not_before is not None else 0.0
        wish = replace(
            wish, request_id=f"r{number}", command_id=f"c{number}", accepted_at=self.now, start_within=lasts,
            expires_at=self.now + later + lasts, not_before=self.now + later if wish.not_before is not None else None,
        )  # fmt: skip
        self.wishes.append(wish)
        self.arrived.append(wish)
        self.served[wish.request_id] = 0.0
        self.is_settled = False

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 29.5, 60.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        if self.effective is not None and self.effective.state is State.RUNNING:
            seconds_of_run = max(0.0, min(seconds, self.effective.remaining(self.now)))
            for request_id in self.effective.request_ids:
                self.served[request_id] += seconds_of_run
        for request_id, seconds_until in self._run_on().items():
            self.served[request_id] += min(seconds, seconds_until)
        self.now += seconds
        self.is_settled = False

    @precondition(lambda self: self.effective is not None and self.effective.is_open)
    @rule(state=st.sampled_from([State.DELIVERED, State.RECEIVED]))
    def a_heartbeat_takes_the_command(self, state: State) -> None:
        assert self.effective is not None
        self.is_away = False
        if OPEN.index(state) > OPEN.index(self.effective.state):
            self.effective = replace(self.effective, state=state)
            if isinstance(self.effective.command, StartCommand):
                self.agent_holds = self.effective.command_id

    @precondition(lambda self: self.effective is not None and self.effective.is_open)
    @rule(only_started=st.booleans())
    def the_agent_acts(self, only_started: bool) -> None:
        """It begins the run, or carries out the stop."""
        assert self.effective is not None
        self.is_away = False
        if not isinstance(self.effective.command, StartCommand):
            self._close(State.COMPLETED)
            self.agent_holds = None
        elif self.effective.awaits(self.now):
            pass  # what ran before goes on
        elif self.effective.state is not State.RUNNING:
            self.agent_holds = self.effective.command_id
            self._end(self.effective.stop_ids, State.COMPLETED)
            self.effective = replace(
                self.effective, state=State.RUNNING, started_at=self.now, stop_ids=(), closed_by_clock=only_started
            )

    @precondition(lambda self: self.effective is not None and self.effective.is_open)
    @rule(outcome=st.sampled_from([State.COMPLETED, State.FAILED, State.UNDELIVERABLE]))
    def the_command_ends(self, outcome: State) -> None:
        """By the agent's word on it, for which it has left whatever it held before; or by giving up on the agent."""
        self.agent_holds = None
        self._close(outcome)

    @precondition(lambda self: self.effective is not None and self.effective.state in TAKEN)
    @rule()
    def the_host_is_lost(self) -> None:
        """It is silent, and what it was at work on goes on there."""
        self.is_away = True
        self._close(State.LOST)

    @precondition(lambda self: self.is_away)
    @rule()
    def the_agent_is_heard_again(self) -> None:
        """By the next beat it says what it is at work on."""
        assert self.effective is not None
        self.is_away = False
        if self.agent_holds is not None and self.effective.state is State.LOST:
            self.effective = replace(self.effective, back_at_work=True)
            self.is_settled = False

    def _close(self, outcome: State) -> None:
        assert self.effective is not None
        self._end((*self.effective.request_ids, *self.effective.stop_ids), outcome)
        self.effective = replace(self.effective, state=outcome, request_ids=(), stop_ids=())
        self.is_settled = False

    def _end(self, request_ids: Iterable[str], outcome: State) -> None:
        for request_id in request_ids:
            assert request_id not in self.outcomes, "a request ended twice"
            self.outcomes[request_id] = outcome
            del self.open[request_id]

    @rule()
    def the_merger_settles(self) -> None:
        generation = self.effective.generation if self.effective is not None else 0
        known = {request.request_id: request for request in (*self.open.values(), *self.arrived)}
        compacted = compaction.compact(list(known.values()), self.effective, self.now, self.withdrawn, lead=self.lead)
        self.void |= {each.request_id for each in self.arrived if each.request_id in self.withdrawn}
        self.arrived, self.open = [], known
        for ending in compacted.endings:
            self._check_that_it_had_to_end(ending)
            self._end(ending.request_ids, ending.outcome)
        assert {request.request_id for request in compacted.open_requests} == set(self.open), "a request was lost"
        self.open = {request.request_id: _stored(request) for request in compacted.open_requests}
        self._take_the_command_from(compacted)
        self.is_settled = True
        self._check_generation(generation, compacted)
        self._check_a_second_look_changes_nothing(compacted)

    def _take_the_command_from(self, compacted: Compacted) -> None:
        if compacted.close is not None:
            assert self.effective is not None
            assert self.effective.is_open, "what has ended was ended again"
            if compacted.close[0] in {State.TIMED_OUT, State.COMPLETED}:
                self.agent_holds = None  # it says nothing any more, or never does
            self.effective = replace(self.effective, state=compacted.close[0], request_ids=(), stop_ids=())
        if compacted.install is not None:
            assert self.effective is None or not self.effective.is_open, "the older command was not closed"
            stored = read_effective(write_effective(compacted.install, now=self.now))
            assert stored == compacted.install, "what is stored is not what was decided"
            self.effective = stored
        elif compacted.keep is not None:
            self.effective = compacted.keep

    # --- the laws ---

    def _check_that_it_had_to_end(self, ending: Ending) -> None:
        for wish in self.wishes:
            if wish.request_id in ending.request_ids and ending.outcome is State.STOPPED:
                assert not any(self._is_left(wish, pid) for pid in UNIVERSE), "a stop took more than it names"
            if wish.request_id in ending.request_ids and ending.outcome is State.EXPIRED:
                assert self.now >= wish.expires_at, "it expired before its time"
            if wish.request_id in ending.request_ids and ending.outcome is State.CANCELLED:
                assert wish.request_id in self.withdrawn, "another's cancel took it along"
            if wish.request_id in ending.request_ids and "seconds were over" in ending.reason:
                assert self.served[wish.request_id] >= wish.duration - 1e-6, "it was not served for as long as it asked"

    def _check_generation(self, before: int, compacted: Compacted) -> None:
        if compacted.install is not None:
            assert compacted.install.generation == before + 1
            members = [self.open[request_id] for request_id in compacted.install.request_ids]
            begins_at = max(self.now, compacted.install.starts_at or 0.0)
            assert all((each.not_before or 0.0) <= begins_at for each in members), "it starts before its moment"
            assert begins_at - self.now <= self.lead, "it was handed out too early"
            assert compacted.install.command_id not in self.ids_used, "an agent never runs the same id twice"
            self.ids_used.append(compacted.install.command_id)
        elif self.effective is not None:
            assert self.effective.generation == before, "a generation fell"

    def _check_a_second_look_changes_nothing(self, compacted: Compacted) -> None:
        again = compaction.compact(list(self.open.values()), self.effective, self.now, lead=self.lead)
        assert again.install is None, "compacting twice installed twice"
        assert (again.close, again.endings, again.joined, again.queued) == (None, (), (), ())
        assert again.open_requests == compacted.open_requests
        assert again.wake_at == compacted.wake_at
        if self.effective is not None and self.effective.is_open:
            assert again.keep == self.effective

    @invariant()
    def what_goes_on_until_a_moment_is_wanted_until_then(self) -> None:
        if self.is_settled and self.effective is not None and self.effective.awaits(self.now):
            assert self.effective.displaces == bool(self._run_on())
            assert not self.effective.stop_ids, "a stop waits for somebody's moment"

    @invariant()
    def nobody_waits_for_the_moment_of_another(self) -> None:
        if self.is_settled and self.effective is not None and self.effective.awaits(self.now):
            mine = [self.open[request_id] for request_id in self.effective.request_ids]
            assert all(each.not_before == self.effective.starts_at or each.runs_since is not None for each in mine)

    @invariant()
    def what_is_withdrawn_is_not_open(self) -> None:
        if self.is_settled:
            assert not set(self.open) & set(self.withdrawn)

    @invariant()
    def urgent_waits_for_nobody_who_is_not(self) -> None:
        if not self.is_settled:
            return
        is_due = [each for each in self.open.values() if (each.not_before or 0.0) <= self.now]
        waiting = [each for each in is_due if each.state is State.QUEUED]
        at_work = [each for each in is_due if each.state is not State.QUEUED and each.command_type == "start"]
        if any(each.priority == "urgent" for each in waiting):
            assert any(each.priority == "urgent" for each in at_work)

    @invariant()
    def a_run_is_given_up_for_another_mode_only_to_what_is_more_urgent(self) -> None:
        if self.is_settled and any(each.has_run for each in self.open.values()):
            put_off = [each for each in self.open.values() if each.has_run]
            assert all(each.state is State.QUEUED and each.priority != "urgent" for each in put_off)

    @invariant()
    def an_agent_at_work_for_nobody_is_told(self) -> None:
        """What it holds is the effective command, or there is a newer one that it will be given."""
        if self.is_settled and self.agent_holds is not None and not self.is_away:
            assert self.effective is not None
            assert self.effective.is_open
            assert self.agent_holds == self.effective.command_id or self.effective.state in OPEN

    @invariant()
    def nothing_runs_longer_than_somebody_wants(self) -> None:
        if not (self.is_settled and self._runs_a_start()):
            return
        assert self.effective is not None
        to_come = self.effective.remaining(self.now)
        wanted = [
            math.inf if wish.continuous else wish.duration - self.served[wish.request_id]
            for wish in self.wishes
            if wish.request_id in self.effective.request_ids
        ]
        assert to_come <= max(wanted) + 2 + JOIN_TOLERANCE_SECONDS

    @invariant()
    def every_request_is_open_or_ended_and_never_both(self) -> None:
        waiting = {request.request_id for request in self.arrived}
        assert not set(self.open) & set(self.outcomes)
        assert {wish.request_id for wish in self.wishes} == set(self.open) | set(self.outcomes) | waiting

    @invariant()
    def exactly_what_is_wanted_is_profiled(self) -> None:
        """A stopped pid is never profiled again without a newer start; a wanted one is not dropped."""
        if not self.is_settled:
            return
        profiled = {pid for pid in UNIVERSE if self._is_profiled(pid)}
        assert profiled == {pid for pid in UNIVERSE if self._is_wanted(pid)}

    @invariant()
    def the_highest_frequency_wins(self) -> None:
        if self.is_settled and self._runs_a_start():
            assert self.effective is not None
            members = [wish for wish in self.wishes if wish.request_id in self.effective.request_ids]
            config = self.effective.command.combined_config
            assert getattr(config, "frequency", None) == max(wish.frequency for wish in members)

    @invariant()
    def no_request_is_cut_short(self) -> None:
        if not (self.is_settled and self._runs_a_start()):
            return
        assert self.effective is not None
        to_come = max(0.0, self.effective.remaining(self.now))
        for wish in self.wishes:
            if wish.request_id in self.effective.request_ids:
                wanted = math.inf if wish.continuous else float(wish.duration)
                got = self.served[wish.request_id] + self._run_on().get(wish.request_id, 0.0) + to_come
                assert got >= wanted - JOIN_TOLERANCE_SECONDS - 1e-6, f"{wish.request_id} gets {got} s of {wanted} s"

    @invariant()
    def what_nobody_reports_is_ended_by_the_clock(self) -> None:
        if self.is_settled and self.effective is not None and self.effective.state is State.RUNNING:
            assert self.effective.remaining(self.now) > -GRACE_SECONDS

    def _run_on(self) -> dict[str, float]:
        """For how long requests go on to be served by the run before, until the command that waits begins."""
        waiting = self.effective
        if waiting is None or not waiting.is_open or not waiting.awaits(self.now):
            return {}
        served = [request_id for request_id in waiting.request_ids if self.open[request_id].runs_since is not None]
        return dict.fromkeys(served, (waiting.starts_at or 0.0) - self.now)

    def _runs_a_start(self) -> bool:
        effective = self.effective
        return effective is not None and effective.is_open and isinstance(effective.command, StartCommand)

    def _is_profiled(self, pid: int) -> bool:
        if not self._runs_a_start():
            return False
        assert self.effective is not None
        assert isinstance(self.effective.command, StartCommand)
        config = self.effective.command.combined_config
        return pid in config.pids if config.pids is not None else pid not in (config.exclude_pids or ())

    def _is_wanted(self, pid: int) -> bool:
        """Whether an open start of the mode that has its turn wants it, and no later stop names it."""
        return any(
            self._is_left(wish, pid)
            for wish in self.wishes
            if wish.request_id in self.open and self.open[wish.request_id].state is not State.QUEUED
        )

    def _is_left(self, start: OpenRequest, pid: int) -> bool:
        """Whether a start wants this process and no later stop names it; a stop withdrawn in time never was."""
        later = self.wishes[self.wishes.index(start) + 1 :]
        return (
            start.command_type == "start"
            and wants(start, pid)
            and not any(
                wish.command_type == "stop" and wants(wish, pid) for wish in later if wish.request_id not in self.void
            )
        )


class StoryOfOneThatWaits(HostStory):
    """The life of a host whose agent is told ahead of what is to start at a moment."""

    lead = 65.0


def _stored(request: OpenRequest) -> OpenRequest:
    again = read_open(request.request_id, write_open(request))
    assert again == request, "what is stored is not what was decided"
    return again
