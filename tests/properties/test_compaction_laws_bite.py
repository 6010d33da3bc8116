"""A test of the tests: each law is seen to fail once, on a rule that was bent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from broker import compaction
from broker.effective import OpenRequest
from tests.support.compaction_laws import (
    APART,
    FURTHER,
    ORDER,
    SECONDS_AFTER_A_STOP,
    SECONDS_OF_EACH,
    STORY,
    TIME,
    TWICE,
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

narrow, config_of, is_covered = compaction._narrow, compaction._config_of, compaction._is_covered
numbered, fold_stops, seconds_left, join = (
    compaction._numbered, compaction._fold_stops, compaction._seconds_left, compaction._join,
)  # fmt: skip


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


def a_run_in_its_grace_is_not_covered(config: Any, left: Any, active: Any, now: float) -> bool:
    return is_covered(config, left, active, now) and max(left.values()) <= active.remaining(now) + 1


def the_last_request_is_lost(open_requests: Any) -> Any:
    return numbered(open_requests)[:3]


def a_generation_starts_anew(*values: Any) -> Any:
    folded = fold_stops(*values)
    return replace(folded, install=folded.install and replace(folded.install, generation=1))


def a_run_is_never_used_up(request: Any, _active: Any, _now: float) -> float:
    return float("inf") if request.continuous else float(request.duration)


def the_first_clock_goes_on_for_what_runs(request: OpenRequest, _active: Any, _now: float) -> float:
    return request.expires_at


def an_id_is_used_again(requests: Any, _generation: int) -> tuple[str, str]:
    newest = max(requests, key=lambda request: request.seq)
    return newest.command_id, newest.request_id


def who_joins_is_served_since_the_run_began(*values: Any) -> Any:
    joined = join(*values)
    return replace(joined, members=tuple(replace(each, joined_at=None) for each in joined.members))


MUTANTS: list[tuple[Law | StoryLaw, str, Callable[..., Any]]] = [
    (FURTHER, "_config_of", the_lowest_frequency_wins),
    (FURTHER, "_config_of", the_shortest_duration_wins),
    (FURTHER, "_config_of", only_shared_pids_are_profiled),
    (FURTHER, "_config_of", pids_win_over_the_whole_host),
    (ORDER, "_config_of", the_first_frequency_wins),
    (APART, "_is_covered", everything_is_covered),
    (TIME, "_is_covered", a_run_in_its_grace_is_not_covered),
    (SECONDS_OF_EACH, "_seconds_left", a_run_is_never_used_up),
    (SECONDS_AFTER_A_STOP, "_join", who_joins_is_served_since_the_run_began),
    (STORY, "_is_covered", nothing_is_ever_covered),
    (STORY, "_narrow", a_process_stop_is_forgotten),
    (STORY, "_narrow", a_process_stop_stops_the_host),
    (STORY, "_narrow", a_stop_is_forgotten_by_whole_host_runs),
    (STORY, "_numbered", the_last_request_is_lost),
    (STORY, "_fold_stops", a_generation_starts_anew),
    (TWICE, "_name_of", an_id_is_used_again),
    (TWICE, "_to_be_started_by", the_first_clock_goes_on_for_what_runs),
]


@pytest.mark.parametrize(("law", "rule", "mutant"), MUTANTS, ids=[mutant.__name__ for _, _, mutant in MUTANTS])
def test_a_bent_rule_breaks_a_law(
    law: Law | StoryLaw, rule: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, rule, mutant)
    with pytest.raises(AssertionError):
        law.hold(UNTIL_IT_FAILS)
