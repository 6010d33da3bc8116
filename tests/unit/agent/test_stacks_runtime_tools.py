"""The formats of rbspy, phpspy and dotnet-trace, as their manuals and sources show them."""

import json

import pytest

from agent.stacks import runtime_tools
from agent.stacks.collapsed import BadLine

RBSPY = """\
<main> - /srv/app/bin/worker.rb:40;run - /srv/app/lib/job.rb:12;sleep [c function] - (unknown) 3
<main> - /srv/app/bin/worker.rb:40;run - /srv/app/lib/job.rb:14;sleep [c function] - (unknown) 2
<main> - /srv/app/bin/worker.rb:41;block in get - /usr/lib/ruby/gems/3.1.0/gems/rack-2.2/lib/rack.rb:7 5
<main> - /srv/app/bin/worker.rb:41;each - /usr/lib/ruby/3.1.0/set.rb:9 1
"""

PHPSPY = """\
0 usleep <internal>:-1
1 App\\Job::work /srv/app/src/Job.php:12
2 <main> /srv/app/public/index.php:3
# uri = /

0 App\\Job::work /srv/app/src/Job.php:14
1 <main> /srv/app/public/index.php:3

0 usleep <internal>:-1
1 App\\Job::work /srv/app/src/Job.php:19
2 <main> /srv/app/public/index.php:3

"""


def test_ruby_is_told_by_function_and_file_not_by_line() -> None:
    assert runtime_tools.rbspy(RBSPY.splitlines()) == {
        "<main> (worker.rb);run (job.rb);sleep [c function]": 5,
        "<main> (worker.rb);block in get (rack-2.2/lib/rack.rb)": 5,
        "<main> (worker.rb);each (set.rb)": 1,
    }
    with pytest.raises(BadLine):
        runtime_tools.rbspy(["no count"])


def test_php_is_told_root_first_and_equal_stacks_add_up() -> None:
    assert runtime_tools.phpspy(PHPSPY.splitlines()) == {
        "<main> (index.php);App\\Job::work (Job.php);usleep": 2,
        "<main> (index.php);App\\Job::work (Job.php)": 1,
    }
    assert runtime_tools.phpspy([]) == {}
    with pytest.raises(ValueError, match="line 1 is no frame of phpspy's"):
        runtime_tools.phpspy(["trace me"])


def test_the_last_trace_of_php_needs_no_empty_line() -> None:
    assert runtime_tools.phpspy(["0 main /a.php:1"]) == {"main (a.php)": 1}


def speedscope(*events: tuple[str, int, float], frames: list[str]) -> str:
    """A file of one thread."""
    thread = {
        "type": "evented", "name": "Thread (7)", "unit": "milliseconds", "startValue": 0.0, "endValue": 100.0,
        "events": [{"type": kind, "frame": frame, "at": at} for kind, frame, at in events],
    }  # fmt: skip
    return json.dumps({"shared": {"frames": [{"name": name} for name in frames]}, "profiles": [thread]})


def test_dotnet_counts_the_time_in_managed_code_alone() -> None:
    frames = [
        "Process64 app (7) Args: ", "(Non-Activities)", "Threads", "Thread (7)", "App!Program.Main(class String[])",
        "App!Program.Hot(int32)", "CPU_TIME", "UNMANAGED_CODE_TIME",
    ]  # fmt: skip
    opened = [("O", number, 0.0) for number in range(5)]
    text = speedscope(
        *opened,
        ("O", 5, 0.0), ("O", 6, 0.0), ("C", 6, 600.0), ("C", 5, 600.0),
        ("O", 6, 600.0), ("C", 6, 800.0),
        ("O", 7, 800.0), ("C", 7, 5000.0),
        *[("C", number, 5000.0) for number in reversed(range(5))],
        frames=frames,
    )  # fmt: skip
    assert runtime_tools.dotnet_trace(text, frequency_hz=100) == {
        "App!Program.Main;App!Program.Hot": 60,
        "App!Program.Main": 20,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shared": {"frames": []}, "profiles": [{"type": "sampled"}]}', "3"])
def test_what_is_no_file_of_dotnet_trace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        runtime_tools.dotnet_trace(text, frequency_hz=100)
