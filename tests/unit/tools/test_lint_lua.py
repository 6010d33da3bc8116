"""The Lua lint, on scripts that each break one rule. `tools` is no package: loaded by path."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
HEADER = "-- What it does.\n-- KEYS   1 a\n-- ARGV   none\n-- Gives  nothing\n\n"


@pytest.fixture(scope="module")
def lint_lua() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lint_lua", ROOT / "tools" / "lint_lua.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lint_lua"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def faults(lint_lua: ModuleType, folder: Path, body: str, *, header: str = HEADER) -> list[str]:
    (folder / "script.lua").write_text(header + body)
    return [f"{fault.line}: {fault.message}" for fault in lint_lua.lint_folder(folder)]


GOOD = """
local function twice(n, ...) return n * 2 + select('#', ...) end
local seen = { a = 1, ['b'] = KEYS[1], [ARGV[1]] = function(x) return x end }
for i, key in ipairs(KEYS) do seen[i] = redis.call('GET', key) end
for i = #ARGV, 1, -1 do seen[i] = nil end
local n = 0
repeat local done = n > 3; n = n + 1 until done
while n > 0 do n = n - 1 end
local text = ('x'):rep(3) .. string.format('%d', twice(1, 2))
if text == '' then return redis.error_reply('no') elseif n == 1 then return cjson.encode(seen) end
return { tonumber(ARGV[1]), math.floor(1.5), pcall(redis.pcall, 'X') }
"""


def test_a_good_script_has_no_fault(lint_lua: ModuleType, tmp_path: Path) -> None:
    assert faults(lint_lua, tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("x = 1", "6: assigns to the global x; write `local x`"),
        ("local a = b", "6: uses the undefined global b"),
        ("return os.time()", "6: uses the undefined global os"),
        ("print('hello')", "6: uses the undefined global print"),
        ("function f() return 1 end", "6: defines a global function; write `local function`"),
        ("\nreturn redis.call('TIME')", "7: TIME gives another result on each server; pass the value as an argument"),
        (
            "return redis.pcall('randomkey')",
            "6: RANDOMKEY gives another result on each server; pass the value as an argument",
        ),
        ("return math.random(3)", "6: math.random gives another result on each server"),
        ("local c = 'GET'\nreturn redis.call(c, KEYS[1])", "7: calls a command that is not named literally"),
        ("if true then local inner = 1 end\nreturn inner", "7: uses the undefined global inner"),
        ("for i = 1, 2 do local x = i end\nreturn i", "7: uses the undefined global i"),
        ("local function f(a) return a end\nreturn a", "7: uses the undefined global a"),
        ("local a = a", "6: uses the undefined global a"),
    ],
)
def test_a_broken_rule_is_named_with_its_line(lint_lua: ModuleType, tmp_path: Path, body: str, fault: str) -> None:
    assert faults(lint_lua, tmp_path, body) == [fault]


def test_what_is_no_lua_does_not_parse(lint_lua: ModuleType, tmp_path: Path) -> None:
    assert "does not parse" in faults(lint_lua, tmp_path, "local = 3")[0]


@pytest.mark.parametrize(
    "header",
    ["", "-- KEYS\n-- ARGV\n", "-- KEYS\n-- Gives\n-- ARGV\n", "local x = 1\n-- KEYS\n-- ARGV\n-- Gives\n"],
)
def test_a_header_must_name_keys_arguments_and_answer_in_order(
    lint_lua: ModuleType, tmp_path: Path, header: str
) -> None:
    assert "the opening comment must have" in faults(lint_lua, tmp_path, "return 1", header=header)[0]


def test_what_the_common_script_defines_is_known_to_the_others(lint_lua: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "common.lua").write_text(HEADER + "local WEEK = 1\nlocal function emit() return WEEK end\n")
    assert faults(lint_lua, tmp_path, "return emit(WEEK)") == []
    (tmp_path / "common.lua").write_text(HEADER + "local WEEK = 1\n")
    assert faults(lint_lua, tmp_path, "return emit(WEEK)") == ["6: uses the undefined global emit"]


def test_a_folder_without_scripts_is_a_fault(lint_lua: ModuleType, tmp_path: Path) -> None:
    assert [fault.message for fault in lint_lua.lint_folder(tmp_path)] == ["has no Lua script"]


def test_the_brokers_scripts_are_clean(lint_lua: ModuleType) -> None:
    assert lint_lua.main([]) == 0
