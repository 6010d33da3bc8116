from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agent.history import Finished, History, Received, Record, Settled, Stage, Started
from agent.outbox import is_final, unsent
from protocol.completions import Completion
from tests.support.agents import calm

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def completed(command_id: str, **given: object) -> Completion:
    return Completion.model_validate({"command_id": command_id, "hostname": "h", "status": "completed", **given})


def records() -> st.SearchStrategy[Record]:
    ids = st.sampled_from(["a", "b", "c", "d", "e"])
    return st.one_of(
        st.builds(Received, command_id=ids, kind=st.sampled_from(["start", "stop", "unreadable"]), at=st.just(NOW)),
        st.builds(Started, command_id=ids, at=st.just(NOW)),
        ids.map(lambda name: Finished(command_id=name, completion=completed(name))),
        st.builds(Settled, command_id=ids),
    )


@calm
@given(st.lists(records()))
def test_folding_at_once_and_step_by_step_give_the_same(written: list[Record]) -> None:
    history = History()
    for record in written:
        history = history.having(record)
    assert history == History.of(written)


@calm
@given(st.lists(records()))
def test_a_compacted_ledger_folds_into_the_same_history(written: list[Record]) -> None:
    history = History.of(written)
    assert History.of(history.records(at=NOW)) == history


@calm
@given(st.lists(records()), st.integers(1, 5))
def test_the_bound_holds_and_what_is_unreported_goes_last(written: list[Record], limit: int) -> None:
    everything, kept = History.of(written), History.of(written, limit=limit)
    assert len(kept.commands) == min(limit, len(everything.commands))
    open_before = [held for held in everything if held.stage is not Stage.SETTLED]
    if len(open_before) <= limit:
        assert all(held.command_id in kept for held in open_before)


@calm
@given(st.lists(records()), records())
def test_a_stage_never_falls(written: list[Record], more: Record) -> None:
    before = History.of(written)
    after = before.having(more)
    assert all(after.commands[held.command_id].stage >= held.stage for held in before)


def test_a_stop_is_the_last_command_once_it_is_carried_out() -> None:
    history = History.of(
        [Received(command_id="run", kind="start", at=NOW), Received(command_id="halt", kind="stop", at=NOW)]
    )
    assert history.last_command_id == "run"
    assert history.having(Finished(command_id="halt", completion=completed("halt"))).last_command_id == "halt"


def test_nothing_was_last_on_a_clean_agent() -> None:
    assert History().last_command_id is None


def test_the_first_completion_stands() -> None:
    history = History.of(
        [
            Finished(command_id="a", completion=completed("a", samples=1)),
            Finished(command_id="a", completion=completed("a", samples=2)),
        ]
    )
    assert [completion.samples for completion in unsent(history)] == [1]


def test_completions_wait_in_the_order_of_their_commands() -> None:
    history = History.of(
        [
            Received(command_id="a", kind="start", at=NOW),
            Received(command_id="b", kind="stop", at=NOW),
            Received(command_id="c", kind="start", at=NOW),
            Finished(command_id="b", completion=completed("b")),
            Finished(command_id="a", completion=completed("a")),
            Finished(command_id="c", completion=completed("c")),
            Settled(command_id="c"),
        ]
    )
    assert [completion.command_id for completion in unsent(history)] == ["a", "b"]


def test_only_a_client_error_that_cannot_pass_is_final() -> None:
    assert all(is_final(status) for status in (400, 404, 409, 410, 413, 422))
    assert not any(is_final(status) for status in (301, 401, 403, 408, 429, 500, 502, 503))
