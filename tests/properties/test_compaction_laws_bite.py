"""A test of the tests: each law is seen to fail once, on a rule that was bent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from broker import compaction, folding
from broker.effective import OpenRequest
from protocol.lifecycle import State
from tests.support.compaction_laws import (
    APART,
    FURTHER,
    GIVEN_UP,
    ORDER,
    PUT_OFF,
    SECONDS_AFTER_A_STOP,
    SECONDS_OF_EACH,
    STORY,
    STORY_AHEAD,
    TIME,
    TOLD,
    TWICE,
    WITHDRAWN,
    Law,
    StoryLaw,
)

UNTIL_IT_FAILS = settings(
    max_examples=1_000,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate,),
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

narrow, numbered, mode_to_run = compaction._narrow, compaction._numbered, compaction._mode_to_run
config_of, is_covered, fold_stops, join = folding._config_of, folding._is_covered, folding.fold_stops, folding._join


def the_lowest_frequency_wins(members: Any, left: Any) -> Any:
    return config_of(members, left).model_copy(update={"frequency": min(each.frequency for each in members)})


def the_first_frequency_wins(members: Any, left: Any) -> Any:
    return config_of(members, left).model_copy(update={"frequency": members[0].frequency})


def the_shortest_duration_wins(members: Any, left: Any) -> Any:
    config = config_of(members, left)
    return config if config.continuous else config.model_copy(update={"duration": max(1, int(min(left.values())))})


def only_shared_pids_are_profiled(members: Any, left: Any) -> Any:
    config = config_of(members, left)
    if config.pids is None:
        return config
    return config.model_copy(update={"pids": sorted(frozenset.intersection(*(each.pids for each in members)))})


def pids_win_over_the_whole_host(members: Any, left: Any) -> Any:
    named = sorted({pid for each in members for pid in each.pids or ()})
    return config_of(members, left).model_copy(update={"pids": named or None})


def a_process_stop_is_forgotten(start: OpenRequest, stop: OpenRequest) -> OpenRequest:
    return start if stop.pids is not None else narrow(start, stop)


def a_process_stop_stops_the_host(start: OpenRequest, _stop: OpenRequest) -> OpenRequest:
    return replace(start, pids=frozenset())


def a_stop_is_forgotten_by_whole_host_runs(start: OpenRequest, stop: OpenRequest) -> OpenRequest:
    return start if start.pids is None and stop.pids is not None else narrow(start, stop)


def nothing_is_ever_covered(*_given: Any) -> bool:
    return False


def everything_is_covered(*_given: Any) -> bool:
    return True


def a_run_in_its_grace_is_not_covered(config: Any, left: Any, standing: Any) -> bool:
    covered = is_covered(config, left, standing)
    return covered and max(left.values()) <= standing.active.remaining(standing.now) + 1


def the_last_request_is_lost(open_requests: Any) -> Any:
    return numbered(open_requests)[:3]


def a_generation_starts_anew(*values: Any) -> Any:
    folded = fold_stops(*values)
    return replace(folded, install=folded.install and replace(folded.install, generation=1))


def a_run_is_never_used_up(request: Any, _standing: Any, **_as_of: Any) -> float:
    return float("inf") if request.continuous else float(request.duration)


def the_first_clock_goes_on_for_what_runs(request: OpenRequest, *_given: Any) -> float:
    return request.expires_at


def an_id_is_used_again(requests: Any, _generation: int) -> tuple[str, str]:
    newest = max(requests, key=lambda request: request.seq)
    return newest.command_id, newest.request_id


def who_joins_is_served_since_the_run_began(*values: Any) -> Any:
    joined = join(*values)
    return replace(joined, members=tuple(replace(each, joined_at=None) for each in joined.members))


def urgent_waits_like_everybody(starts: Any, active: Any) -> Any:
    return mode_to_run([replace(start, priority="normal") for start in starts], active)


def everything_urgent_takes_turns(starts: Any, _active: Any) -> Any:
    return mode_to_run(starts, None)


def what_was_put_off_begins_anew(known: Any, others: Any, _standing: Any) -> Any:
    return list(others)


def what_starts_together_starts_at_once(known: Any, _now: float) -> Any:
    return [request for request in known if request.command_type == "start"], []


def a_cancelled_run_goes_on(*_given: Any) -> bool:
    return True


def nobody_tells_the_agent(_active: Any) -> bool:
    return False


_may_be_at_work, _at_work_for_nobody = compaction._may_be_at_work, compaction._at_work_for_nobody


def what_was_lost_is_forgotten(effective: Any) -> bool:
    return bool(effective.is_open) and _may_be_at_work(effective)


def who_comes_back_is_not_heard(last: Any) -> Any:
    return _at_work_for_nobody(last) if last is not None and last.is_open else None


def a_cancel_takes_everybody_along(known: Any, cancelled: Any, active: Any) -> None:
    if any(request.request_id in cancelled for request in known.requests):
        for request in list(known.requests):
            known._end(request, State.CANCELLED, "cancelled", active)


def who_is_not_served_waits_along(*_given: Any, **_until: Any) -> bool:
    return True


def what_nobody_wants_goes_on_until_the_moment(_standing: Any) -> bool:
    return True


MUTANTS: list[tuple[Law | StoryLaw, str, Callable[..., Any]]] = [
    (FURTHER, "folding._config_of", the_lowest_frequency_wins),
    (FURTHER, "folding._config_of", the_shortest_duration_wins),
    (FURTHER, "folding._config_of", only_shared_pids_are_profiled),
    (FURTHER, "folding._config_of", pids_win_over_the_whole_host),
    (ORDER, "folding._config_of", the_first_frequency_wins),
    (APART, "folding._is_covered", everything_is_covered),
    (TIME, "folding._is_covered", a_run_in_its_grace_is_not_covered),
    (SECONDS_OF_EACH, "folding.seconds_left", a_run_is_never_used_up),
    (SECONDS_AFTER_A_STOP, "folding._join", who_joins_is_served_since_the_run_began),
    (STORY, "folding._is_covered", nothing_is_ever_covered),
    (STORY, "compaction._narrow", a_process_stop_is_forgotten),
    (STORY, "compaction._narrow", a_process_stop_stops_the_host),
    (STORY, "compaction._narrow", a_stop_is_forgotten_by_whole_host_runs),
    (STORY, "compaction._numbered", the_last_request_is_lost),
    (STORY, "compaction.fold_stops", a_generation_starts_anew),
    (TWICE, "folding._name_of", an_id_is_used_again),
    (TWICE, "folding._to_be_started_by", the_first_clock_goes_on_for_what_runs),
    (STORY, "compaction._mode_to_run", urgent_waits_like_everybody),
    (GIVEN_UP, "compaction._mode_to_run", everything_urgent_takes_turns),
    (PUT_OFF, "compaction._Known.put_off", what_was_put_off_begins_anew),
    (STORY, "compaction._ready", what_starts_together_starts_at_once),
    (WITHDRAWN, "folding._is_needed", a_cancelled_run_goes_on),
    (TOLD, "compaction._may_be_at_work", nobody_tells_the_agent),
    (TOLD, "compaction._may_be_at_work", what_was_lost_is_forgotten),
    (TOLD, "compaction._at_work_for_nobody", who_comes_back_is_not_heard),
    (STORY, "compaction._Known.cancel", a_cancel_takes_everybody_along),
    (STORY_AHEAD, "ahead._is_all_served", who_is_not_served_waits_along),
    (STORY_AHEAD, "ahead._is_idle", what_nobody_wants_goes_on_until_the_moment),
]


@pytest.mark.parametrize(("law", "rule", "mutant"), MUTANTS, ids=[mutant.__name__ for _, _, mutant in MUTANTS])
def test_a_bent_rule_breaks_a_law(
    law: Law | StoryLaw, rule: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"broker.{rule}", mutant)
    with pytest.raises(AssertionError):
        law.hold(UNTIL_IT_FAILS)
