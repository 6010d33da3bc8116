import pytest

from agent.profilers import reasons

GONE = (
    "Error: Failed to get process executable name. Check that the process is running.\n\nCaused by:\n 0: No such file"
)
DENIED = "Permission Denied: Try running again with elevated permissions by going 'sudo env \"PATH=$PATH\" !!'"
NO_PYTHON = "Error: Failed to find python version from target process\n\nStack backtrace:\n   0: anyhow::error"
NO_ACCESS = """Error:
Access to performance monitoring and observability operations is limited.
Consider adjusting /proc/sys/kernel/perf_event_paranoid setting to open
"""


@pytest.mark.parametrize(
    ("output", "gone", "says"),
    [
        (GONE, False, "process 42 (web) ended before py-spy could sample it"),
        ("anything", True, "process 42 (web) ended before"),
        (DENIED, False, "no permission to read process 42 (web): run the agent as root, or with CAP_SYS_PTRACE"),
        ("Error: Operation not permitted (os error 1)", False, "CAP_SYS_PTRACE"),
        (NO_PYTHON, False, "py-spy does not recognise the Python of process 42 (web)"),
        ("Error: something new\nmore", False, "py-spy failed on process 42 (web): something new"),
        ("", False, "py-spy failed on process 42 (web): it said nothing"),
    ],
)
def test_py_spys_words_become_a_persons(output: str, says: str, *, gone: bool) -> None:
    assert says in reasons.py_spy(output, pid=42, name="web", gone=gone, contained=False)


def test_a_process_of_a_container_is_told_to_be_one() -> None:
    assert "container" in reasons.py_spy(DENIED, pid=42, name="web", gone=False, contained=True)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (NO_ACCESS, "no permission to use perf: run the agent as root, or give it CAP_PERFMON"),
        ("WARNING: perf not found for kernel 6.8.0-31\n", "apt-get install linux-tools-$(uname -r)"),
        ("failed to write perf data, error: No space left on device", "disk space"),
        ("The sys_perf_event_open() syscall returned with 38 (Function not implemented)", "refuses perf_event_open"),
        ("Something else\nbroke\n[ perf record: Woken up 1 times ]\n", "perf failed: broke"),
        ("", "perf failed: it said nothing"),
    ],
)
def test_perfs_words_become_a_persons(output: str, says: str) -> None:
    assert says in reasons.perf(output)


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        ("Error:\nThe cycles event is not supported.\n", True),
        ("cycles: PMU Hardware doesn't support sampling/overflow-interrupts. Try 'perf stat'", True),
        (NO_ACCESS, False),
        ("Couldn't create thread/CPU maps: No such process", False),
    ],
)
def test_a_missing_event_is_told_from_other_trouble(output: str, *, missing: bool) -> None:
    assert reasons.perf_event_is_missing(output) is missing


def test_a_process_that_may_not_be_looked_at_is_not_taken_for_one_that_ended() -> None:
    denied = "Error: Failed to get process executable name. Check that the process is running.\nPermission denied (13)"
    assert "no permission to read" in reasons.py_spy(denied, pid=42, name="web", gone=False, contained=False)
