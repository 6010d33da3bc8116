from agent.stacks.combine import ATTACH_FAILED, by_process, whole


def test_a_runtimes_stacks_replace_the_hosts_at_the_hosts_count() -> None:
    best = by_process({1: {"_PyEval": 90, "malloc": 10}, 2: {"main": 50}}, {1: {"hot": 150, "cold": 50}})
    assert best == {1: {"hot": 75, "cold": 25}, 2: {"main": 50}}


def test_a_process_the_runtimes_profiler_saw_nothing_of_keeps_the_hosts_stacks() -> None:
    assert by_process({1: {"_PyEval": 9}}, {1: {}}) == {1: {"_PyEval": 9}}


def test_a_process_that_could_not_be_read_says_so_below_its_root() -> None:
    assert by_process({1: {"_PyEval": 9}}, {}, failed=frozenset({1})) == {1: {f"{ATTACH_FAILED};_PyEval": 9}}


def test_without_an_account_of_the_host_the_runtimes_stand_as_they_are() -> None:
    assert by_process(None, {1: {"hot": 3}, 2: {}}) == {1: {"hot": 3}}


def test_a_process_that_used_no_cpu_has_no_samples() -> None:
    assert by_process({2: {"main": 5}}, {1: {"waiting": 40}}) == {2: {"main": 5}}


def test_processes_of_one_name_are_added_up_under_it() -> None:
    stacks = whole({1: {"a": 1}, 2: {"a": 2, "b": 1}, 3: {"c": 1}}, {1: "python", 2: "python"})
    assert stacks == {"python;a": 3, "python;b": 1, "pid 3;c": 1}
