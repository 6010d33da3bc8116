"""Some hosts on a real server, as a state machine: operators, two mergers, agents and projectors act in any order.

Time is the story's: every moment the server hears of is given to it. After each step all that the server has told is
held to the laws; at the end everything is driven to its end.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from broker import keys
from broker.codec import ms
from broker.effective import OpenRequest
from broker.results import Change
from broker.scripts import Delivered, Recorded
from broker.streams import Entry
from protocol.lifecycle import OPEN, OUTCOMES, State
from tests.support.builders import NOW, a_host
from tests.support.server_side_story import AT_ONCE, HOSTS, Hand, ServerSideStory, coin, which_host
from tests.support.story_agent import Stage, StoryAgent, profiled_by
from tests.support.wishes import UNIVERSE, wants

SILENCE_SECONDS: Final = 200.0
AT_ITS_OWN_RISK: Final = frozenset({State.TIMED_OUT, State.UNDELIVERABLE, State.COMPLETED, State.FAILED})
"""How a command may end that an agent is at work on without anybody's telling it to stop: it broke the protocol before,
or said itself that it has ended. One that was silent for long is told once it says that it is at work."""


class ServerStory(ServerSideStory):
    """And whoever else has to do with them: agents, projectors, the janitor."""

    # --- agents ---

    @rule(which=which_host, names=st.sampled_from([True, True, False]), last=coin, is_reply_lost=coin)
    def an_agent_beats(self, which: int, names: bool, last: bool, is_reply_lost: bool) -> None:
        agent = self.agents[which]
        if agent.is_dead:
            return
        delivered = self.scene.do(agent.beat(names=names, last=last, is_reply_lost=is_reply_lost))
        if delivered is not None:
            self._check_delivered(agent, delivered)

    @rule(which=which_host)
    def an_agent_takes_and_begins(self, which: int) -> None:
        self.an_agent_beats(which, names=True, last=True, is_reply_lost=False)
        self.an_agent_begins(which)
        self.an_agent_beats(which, names=True, last=True, is_reply_lost=False)

    @rule(which=which_host)
    def an_agent_begins(self, which: int) -> None:
        agent = self.agents[which]
        if agent.is_dead or not agent.held:
            return
        agent.begin()
        if agent.is_old:
            assert self.scene.do(agent.say_started()) is not Recorded.UNKNOWN

    @rule(which=which_host, status=st.sampled_from(["completed", "completed", "failed"]), is_reply_lost=coin)
    def an_agent_ends_its_run(self, which: int, status: str, is_reply_lost: bool) -> None:
        """And reports it, and what it has not reported yet."""
        agent = self.agents[which]
        if not agent.is_dead:
            agent.end_work(status)
            for command_id in list(agent.unsent):
                self._report(agent, command_id, is_reply_lost=is_reply_lost)

    @rule(which=which_host, status=st.sampled_from(["completed", "failed"]))
    def an_agent_ends_its_run_and_keeps_silent(self, which: int, status: str) -> None:
        if not self.agents[which].is_dead:
            self.agents[which].end_work(status)

    @rule(which=which_host, past=st.integers(0, 9))
    def an_agent_repeats_itself(self, which: int, past: int) -> None:
        agent = self.agents[which]
        if not agent.is_dead and agent.sent:
            self._report(agent, list(agent.sent)[past % len(agent.sent)])

    def _report(self, agent: StoryAgent, command_id: str, *, is_reply_lost: bool = False) -> None:
        recorded = self.scene.do(agent.report(command_id, is_reply_lost=is_reply_lost))
        said = agent.said[command_id]
        assert recorded is not Recorded.UNKNOWN, "it was handed out and is not known"
        taken = [each for each in said if each is not Recorded.REPEATED]
        assert len(taken) <= 1, f"a completion was recorded twice: {said}"

    @rule(which=which_host, with_ledger=st.sampled_from([True, True, False]))
    def an_agent_restarts(self, which: int, with_ledger: bool) -> None:
        self.agents[which].restart(with_ledger=with_ledger)

    @rule(which=which_host, is_for_ever=st.sampled_from([False, False, False, True]))
    def an_agent_is_silent_and_given_up(self, which: int, is_for_ever: bool) -> None:
        agent = self.agents[which]
        agent.is_dead |= is_for_ever
        self.time_passes(SILENCE_SECONDS)
        if self.scene.do(agent.host.lose(silent_for=SILENCE_SECONDS)):
            agent.said_at_work = ""

    def _check_delivered(self, agent: StoryAgent, delivered: Delivered) -> None:
        path, command_id = agent.host.at.path, delivered.command_id
        command = self.record.commands[path]
        assert (command_id, str(delivered.generation)) == (command["id"], command["generation"])
        assert (path, command_id) not in self.record.outcomes, "what has ended was handed out"
        assert command_id not in agent.said, "what the agent has reported was handed out"
        for pid in profiled_by(delivered, UNIVERSE):
            assert any(self._is_left(path, request_id, pid) for request_id in command["request_ids"].split()), (
                f"{pid} is profiled, and nobody wants it"
            )

    def _is_left(self, path: str, start_id: str, pid: int) -> bool:
        """Whether a start wants this process, has not ended, and no stop that came later was taken up."""
        start = self.wishes[start_id]
        ids = list(self.wishes)
        return (
            start.command_type == "start"
            and wants(start, pid)
            and not self.record.has_ended(path, start_id)
            and not any(
                self.wishes[later].command_type == "stop"
                and wants(self.wishes[later], pid)
                and path in self.targets[later]
                and self.record.has_applied(path, later)
                for later in ids[ids.index(start_id) + 1 :]
            )
        )

    # --- time, and who looks after it ---

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 29.5, 60.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for agent in self.agents:
            agent.host.now = self.now

    @rule()
    def the_janitor_rings(self) -> None:
        self.scene.do(self.log.ring_due(now=ms(self.now), again_in_ms=30_000))

    # --- projectors ---

    @rule(count=st.sampled_from([1, 3, 500]))
    def a_projector_reads(self, count: int) -> None:
        """What it held and did not ack before stays pending."""
        self.projecting = self._read(self.projector, keys.results, count)
        self._project(self.projecting)

    @rule()
    def a_projector_acks(self) -> None:
        if self.projecting:
            self.scene.do(self.projector.ack(self.projecting))
            self.projecting = []

    @rule()
    def another_projector_takes_over(self) -> None:
        self.projecting = self.scene.do(self.projector.claim(idle=AT_ONCE))
        self._project(self.projecting)

    def _project(self, entries: list[Entry]) -> int:
        return self.scene.do(self.results.project(Change.of(entry) for entry in entries))

    # --- the laws that hold at any moment ---

    @invariant()
    def what_was_told_is_lawful(self) -> None:
        """Each request steps by the table, ends once, and is open or ended; generations do not fall."""
        if hasattr(self, "record"):
            self._look()

    def _look(self) -> None:
        self.is_lawful = False
        self.scene.do(self.record.read(self.wishes, self.targets))
        self._check_who_is_at_work_for_nobody()
        self.is_lawful = True

    def _check_who_is_at_work_for_nobody(self) -> None:
        """What an agent is at work on is the host's command, or there is another that it will be given."""
        for agent in self.agents:
            path = agent.host.at.path
            is_settled = not self.record.waiting[path] and self.record.deadlines.get(path, ms(self.now) + 1) > ms(
                self.now
            )
            ended = self.record.outcomes.get((path, agent.at_work))
            if agent.at_work and is_settled and ended not in AT_ITS_OWN_RISK:
                command = self.record.commands[path]
                if command["state"] == State.UNDELIVERABLE:
                    continue  # it was told ten times
                if command["state"] == State.LOST and agent.said_at_work != agent.at_work:
                    continue
                assert command["state"] in OPEN, f"{agent.at_work} {ended} is at work for nobody"
                assert agent.at_work == command["id"] or agent.ledger.get(command["id"]) is not Stage.FINISHED

    # --- the end ---

    def teardown(self) -> None:
        """Everybody does what is left to do, the dead aside, until everything has come to its end."""
        if not self.is_lawful:
            return  # it failed, or never began
        for number in range(16):
            self._everybody_acts()
            if self._is_over():
                break
            if number == 8:  # what nobody ever ends is stopped
                self.submit_a_stop(OpenRequest("", "", "stop", NOW, NOW), set(range(len(HOSTS))))
            self.time_passes(400.0)
        self._look()
        for request_id, paths in self.targets.items():
            for path in paths:
                told = self.record.told[path, request_id]
                assert self.record.has_ended(path, request_id), f"{request_id} never ended: {told}"
        self._check_what_is_shown()

    def _everybody_acts(self) -> None:
        self.the_janitor_rings()
        for agent in self.agents:
            if agent.is_dead:
                self.scene.do(agent.host.lose(silent_for=SILENCE_SECONDS))
        self._merge_all()
        for which in range(len(self.agents)):
            self.an_agent_takes_and_begins(which)
            self.an_agent_beats(which, names=True, last=True, is_reply_lost=False)
            self.an_agent_ends_its_run(which, "completed", is_reply_lost=False)
        self._merge_all()

    def _merge_all(self) -> None:
        """Slower than a crash: a new merger claims whatever is left in others' hands, and reads the rest."""
        for _ in range(20):
            self._look()
            self.mergers = [Hand(self._reader()), Hand(self._reader())]
            self.a_merger_takes_over(which=False)
            self.a_merger_reads(which=True, count=500)
            if not any(hand.rings for hand in self.mergers):
                return
            for which in (False, True):
                for step in (self.a_merger_loads, self.a_merger_stores, self.a_merger_acks):
                    step(which=which)
        raise AssertionError("the doorbells never fell silent")

    def _is_over(self) -> bool:
        return all(told[-1] in OUTCOMES for told in self.record.told.values()) and not any(
            command.get("state") in OPEN and not agent.is_dead
            for agent, command in zip(self.agents, self.record.commands.values(), strict=True)
        )

    def _check_what_is_shown(self) -> None:
        self.another_projector_takes_over()
        self._project(self._read(self.projector, keys.results, 10_000))
        told = self.record.shown()
        before = {request_id: self.scene.do(self.requests.statuses(request_id)) for request_id in told}
        self._project(self.record.entries)
        for request_id, of_host in told.items():
            statuses = self.scene.do(self.requests.statuses(request_id))
            assert statuses == before[request_id], "the same news once more changed something"
            shown = {a_host(name).path: status["state"] for name, status in statuses.items()}
            assert shown == of_host, f"{request_id} is shown as {shown}, and is {of_host}"
