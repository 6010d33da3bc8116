import pytest

from agent.stacks import jit

MAP = """\
1000 40 old
2000 10 LazyCompile:*sum /srv/app/sums.js:3:17
nonsense
0x1000 0x20 new name
1000 zz broken
3000 0 empty
"""


def test_an_address_has_the_name_that_was_written_last() -> None:
    found = jit.resolve(MAP.splitlines(keepends=True), [0x1000, 0x101F, 0x1020, 0x103F, 0x1040, 0x200F, 0x3000])
    assert found == {
        0x1000: "new name",
        0x101F: "new name",
        0x1020: "old",
        0x103F: "old",
        0x200F: "LazyCompile:*sum /srv/app/sums.js:3:17",
    }


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("JS:*spinMuch /tmp/n.js:1:18", "spinMuch (n.js:1)"),
        ("JS:~spinMuch /tmp/n.js:1:18", "spinMuch (n.js:1)"),
        ("JS:^ /tmp/n.js:1:1", "(anonymous) (n.js:1)"),
        ("LazyCompile:~readFile node:fs:346:18", "readFile (node:fs:346)"),
        ("JS:*get price file:///srv/a.mjs:7:3", "get price (a.mjs:7)"),
        ("Function:*deep /srv/with:colon/index.js:10:2", "deep (index.js:10)"),
        ("py::handle:/srv/app/web.py", "handle (web.py)"),
        ("py::loads:/usr/lib/python3.12/json/__init__.py", "loads (json/__init__.py)"),
        ("RegExp:a;b", "RegExp:a:b"),
        ("Lcom/shop/Cart;::total", "Lcom/shop/Cart:::total"),
    ],
)
def test_a_compiled_function_is_told_in_our_words(symbol: str, name: str) -> None:
    assert jit.readable(symbol) == name


def test_only_a_perf_map_is_one() -> None:
    assert jit.is_map("/tmp/perf-12.map")
    assert jit.is_map("perf-12.map")
    assert not jit.is_map("/tmp/perf-x.map")
    assert not jit.is_map("/usr/bin/perf-12.map.so")
