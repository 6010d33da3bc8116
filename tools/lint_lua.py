"""Lints the broker's Lua scripts: `python tools/lint_lua.py [FOLDER]`, by default broker/scripts.

Each script must parse, open with a header that names its KEYS, its ARGV and what it Gives, use no global beyond those
that Redis has, assign to none, name its commands literally, and do nothing whose effect differs between two servers.
What `common.lua` defines at its top is known to the other scripts of the folder: the loader puts it before them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from luaparser import ast, astnodes

SHARED: Final = "common.lua"
HEADER: Final = ("-- KEYS", "-- ARGV", "-- Gives")
GLOBALS: Final = frozenset({
    "redis", "cjson", "cmsgpack", "bit", "struct", "KEYS", "ARGV",
    "assert", "error", "getmetatable", "setmetatable", "ipairs", "next", "pairs", "pcall", "xpcall",
    "rawequal", "rawget", "rawset", "select", "string", "table", "math", "tonumber", "tostring", "type", "unpack",
})  # fmt: skip
UNSTEADY_COMMANDS: Final = frozenset({
    "TIME", "RANDOMKEY", "SRANDMEMBER", "SPOP", "ZRANDMEMBER", "HRANDFIELD", "KEYS", "SCAN",
})  # fmt: skip
UNSTEADY_FUNCTIONS: Final = frozenset({"math.random", "math.randomseed"})
CALLS: Final = frozenset({"redis.call", "redis.pcall"})


@dataclass(frozen=True, order=True)
class Fault:
    """Something wrong in a script."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass
class Scope:
    """The local names of a block, and of the blocks around it."""

    outer: "Scope | None" = None
    names: set[str] = field(default_factory=set)

    def knows(self, name: str) -> bool:
        """Whether the name is a local one here."""
        return name in self.names or (self.outer is not None and self.outer.knows(name))


class Linter:
    """Walks one script: `_visit_<node type>` where a node needs more than a look at its parts."""

    def __init__(self, file: str, shared: frozenset[str]) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self._top = Scope(names=set(shared))
        self._line = 1

    def lint(self, text: str) -> list[Fault]:
        """Every fault of the script."""
        self.faults += missing_header(self.file, text)
        try:
            tree = ast.parse(text)
        except ast.SyntaxException as error:
            return [*self.faults, Fault(self.file, 1, f"does not parse: {error}")]
        self._block(tree.body, Scope(self._top))
        return sorted(set(self.faults))

    def _fault(self, message: str) -> None:
        self.faults.append(Fault(self.file, self._line, message))

    def _visit(self, node: Any, scope: Scope) -> None:
        if isinstance(node, list | tuple):
            for item in node:
                self._visit(item, scope)
        elif isinstance(node, astnodes.Node):
            self._line = (
                node.line or self._line
            )  # names do not know their line: theirs is that of the last node that does
            visit = getattr(self, f"_visit_{type(node).__name__.lower()}", self._visit_parts)
            visit(node, scope)

    def _visit_parts(self, node: Any, scope: Scope) -> None:
        for name, part in vars(node).items():
            if not name.startswith("_") and name != "comments":
                self._visit(part, scope)

    # Blocks and what they define ----------------------------------------------------------------------------------

    def _block(self, block: Any, scope: Scope) -> Scope:
        self._visit(block.body, scope)
        return scope

    def _visit_block(self, node: Any, scope: Scope) -> None:
        self._block(node, Scope(scope))

    def _visit_localassign(self, node: Any, scope: Scope) -> None:
        self._visit(node.values, scope)
        scope.names |= {target.id for target in node.targets}

    def _visit_assign(self, node: Any, scope: Scope) -> None:
        for target in node.targets:
            if not isinstance(target, astnodes.Name):
                self._visit(target, scope)
            elif not scope.knows(target.id):
                self._fault(f"assigns to the global {target.id}; write `local {target.id}`")
        self._visit(node.values, scope)

    def _visit_localfunction(self, node: Any, scope: Scope) -> None:
        scope.names.add(node.name.id)
        self._visit_anonymousfunction(node, scope)

    def _visit_function(self, node: Any, scope: Scope) -> None:
        self._fault("defines a global function; write `local function`")
        self._visit_anonymousfunction(node, scope)

    _visit_method = _visit_function

    def _visit_anonymousfunction(self, node: Any, scope: Scope) -> None:
        arguments = {argument.id for argument in node.args if isinstance(argument, astnodes.Name)}
        self._block(node.body, Scope(scope, arguments))

    def _visit_fornum(self, node: Any, scope: Scope) -> None:
        self._visit([node.start, node.stop, node.step], scope)
        self._block(node.body, Scope(scope, {node.target.id}))

    def _visit_forin(self, node: Any, scope: Scope) -> None:
        self._visit(node.iter, scope)
        self._block(node.body, Scope(scope, {target.id for target in node.targets}))

    def _visit_repeat(self, node: Any, scope: Scope) -> None:
        self._visit(node.test, self._block(node.body, Scope(scope)))  # `until` sees the locals of the block

    # What is used -------------------------------------------------------------------------------------------------

    def _visit_name(self, node: Any, scope: Scope) -> None:
        if node.id not in GLOBALS and not scope.knows(node.id):
            self._fault(f"uses the undefined global {node.id}")

    def _visit_index(self, node: Any, scope: Scope) -> None:
        self._visit(node.value, scope)
        if node.notation is astnodes.IndexNotation.SQUARE:
            self._visit(node.idx, scope)
        elif dotted(node) in UNSTEADY_FUNCTIONS:
            self._fault(f"{dotted(node)} gives another result on each server")

    def _visit_invoke(self, node: Any, scope: Scope) -> None:
        self._visit([node.source, node.args], scope)

    def _visit_field(self, node: Any, scope: Scope) -> None:
        self._visit([node.key if node.between_brackets else None, node.value], scope)

    def _visit_call(self, node: Any, scope: Scope) -> None:
        if dotted(node.func) in CALLS:
            self._command(node.args[0] if node.args else None)
        self._visit_parts(node, scope)

    def _command(self, first: Any) -> None:
        if not isinstance(first, astnodes.String):
            self._fault("calls a command that is not named literally")
            return
        command = (first.s.decode() if isinstance(first.s, bytes) else first.s).upper()
        if command in UNSTEADY_COMMANDS:
            self._fault(f"{command} gives another result on each server; pass the value as an argument")


def dotted(node: object) -> str:
    """`redis.call` of the expression that reads so; empty for any other."""
    match node:
        case astnodes.Name():
            return str(node.id)
        case astnodes.Index(notation=astnodes.IndexNotation.DOT, idx=astnodes.Name() as last, value=value):
            first = dotted(value)
            return f"{first}.{last.id}" if first else ""
    return ""


def missing_header(file: str, text: str) -> list[Fault]:
    """The header lines that the opening comment lacks."""
    opening = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        opening.append(line)
    found = [mark for line in opening for mark in HEADER if line.startswith(mark)]
    if found == list(HEADER):
        return []
    return [
        Fault(file, 1, f"the opening comment must have {', '.join(HEADER)}, in this order; it has {found or 'none'}")
    ]


def shared_names(folder: Path) -> frozenset[str]:
    """What `common.lua` defines for the others."""
    shared = folder / SHARED
    if not shared.exists():
        return frozenset()
    names: set[str] = set()
    for statement in ast.parse(shared.read_text()).body.body:
        match statement:
            case astnodes.LocalFunction():
                names.add(statement.name.id)
            case astnodes.LocalAssign():
                names |= {target.id for target in statement.targets}
    return frozenset(names)


def lint_folder(folder: Path) -> list[Fault]:
    """Every fault of every script in a folder."""
    scripts = sorted(folder.glob("*.lua"))
    if not scripts:
        return [Fault(str(folder), 0, "has no Lua script")]
    faults: list[Fault] = []
    shared: frozenset[str] = frozenset()
    for script in sorted(scripts, key=lambda path: path.name != SHARED):  # the shared one first
        known = frozenset() if script.name == SHARED else shared
        found = Linter(str(script), known).lint(script.read_text())
        faults += found
        if script.name == SHARED and not any("does not parse" in fault.message for fault in found):
            shared = shared_names(folder)
    return faults


def main(arguments: Sequence[str]) -> int:
    """Print every fault; 1 when there is one."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parents[1] / "broker" / "scripts"
    faults = lint_folder(folder)
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{len(list(folder.glob('*.lua')))} Lua scripts are clean")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
