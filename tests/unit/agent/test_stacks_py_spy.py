import pytest

from agent.stacks.collapsed import BadLine
from agent.stacks.py_spy import read, short

RAW = """\
<module> (/srv/app/main.py:1);serve (/srv/app/main.py:40);Loop.run (/usr/lib/python3.11/asyncio/base_events.py:595) 12
<module> (/srv/app/main.py:1);serve (/srv/app/main.py:40);dumps (/v/lib/python3.11/site-packages/ujson/__init__.py:7) 3
process 4242:"python main.py";thread (0x7F12AB34);<module> (/srv/app/main.py:1);serve (/srv/app/main.py:40) 5
<module> (/home/other/main.py:1);serve (/home/other/main.py:40) 2
 4
"""


def test_a_raw_file_becomes_short_frames_and_equal_stacks_add_up() -> None:
    assert read(RAW.splitlines(keepends=True)) == {
        "<module> (main.py:1);serve (main.py:40);Loop.run (asyncio/base_events.py:595)": 12,
        "<module> (main.py:1);serve (main.py:40);dumps (ujson/__init__.py:7)": 3,
        "<module> (main.py:1);serve (main.py:40)": 7,
        "[unknown]": 4,
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("hot_a (/srv/sample.py:12)", "hot_a (sample.py:12)"),
        ("hot_a (/srv/pkg/__init__.py:12)", "hot_a (pkg/__init__.py:12)"),
        ("main (/srv/pkg/__main__.py:3)", "main (pkg/__main__.py:3)"),
        ("main (__main__.py:3)", "main (__main__.py:3)"),
        ("f (/usr/lib/python3/dist-packages/apt/cache.py:9)", "f (apt/cache.py:9)"),
        ("f (/usr/lib/python3.11/lib-dynload/_x.py:9)", "f (_x.py:9)"),
        ("_run_code (<frozen runpy>:65)", "_run_code (<frozen runpy>:65)"),
        ("<module> (<string>:1)", "<module> (<string>:1)"),
        ("no file at all", "no file at all"),
        ("f (/a/b (copy)/c.py:5)", "f (c.py:5)"),
        ("f.<locals>.<lambda> (/a/c.py:5)", "f.<locals>.<lambda> (c.py:5)"),
        ("native_thing (libfoo.so.1)", "native_thing (libfoo.so.1)"),
    ],
)
def test_a_frame_keeps_function_file_and_line(theirs: str, ours: str) -> None:
    assert short(theirs) == ours


def test_what_is_no_raw_file_is_refused() -> None:
    with pytest.raises(BadLine):
        read(["<svg>\n"])
