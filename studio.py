#!/usr/bin/env python3
"""Performance Studio from a fresh clone: `python3 studio.py demo`.

Needs Python 3.11 with pip and nothing else: no venv module, git, curl, make or compiler. It fetches a pinned uv into
`.tools`, lets it build `.venv` from `uv.lock`, and hands over to `.venv/bin/studio`. When everything is in place
already it hands over at once, without a look at the network.

Only the standard library, and a syntax that older Pythons can read far enough to be told that they are too old.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, NoReturn, Sequence  # noqa: UP035  Pythons older than 3.9 read this file too

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
STAMP = VENV / ".studio.json"
LOCK = TOOLS / "lock"

OLDEST_PYTHON = (3, 11)
UV_VERSION = "0.13.9"
ROLES = ("server", "agent", "embedded")
EVERYTHING = (*ROLES, "dev")
NEEDS_EVERYTHING = ("test", "check")
PIP_SECTIONS = ("global", "install", ":env:")

FAILED, USAGE, UNREACHABLE = 1, 2, 3

HELP = """\
usage: python3 studio.py COMMAND [OPTIONS]

  demo    start everything, profile a sample program, show where its time goes
  up      start everything and keep it running until Ctrl-C
  status  what is running, and how it is
  test    every check and every test (check is the same)
  setup   only prepare .venv, whose bin/ has studio and gprofiler

Any other command goes to .venv/bin/studio as it is. COMMAND --help tells more.
"""

NO_INDEX = """\
The packages could not be fetched; the lines above say why. What helps:
  behind a proxy       export HTTPS_PROXY=http://proxy:3128
  with a mirror        export PIP_INDEX_URL=https://mirror.example/simple
  with your own CA     export SSL_CERT_FILE=/path/to/ca.pem
  with uv elsewhere    put uv {version} or newer on PATH
  without a network    run `python3 studio.py setup` on a machine of the same kind and
                       at the same path, then copy the whole folder over
"""


class GaveUp(Exception):
    """What stood in the way, and the exit code for it."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def say(message: str) -> None:
    """One line of progress, on stderr: stdout belongs to the command."""
    print(f"studio: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run a command and put what went wrong into words."""
    try:
        return run(arguments)
    except GaveUp as stop:
        say(str(stop))
        return stop.code
    except KeyboardInterrupt:
        say("interrupted; the next run carries on from here")
        return 130


def run(arguments: Sequence[str]) -> int:
    """Prepare what the command needs, then become that command.

    Raises:
        GaveUp: something it needs is not to be had.
    """
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise GaveUp(f"needs Python {oldest} or newer, this is {sys.version.split()[0]} at {sys.executable}")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0 if arguments else USAGE
    command, options = arguments[0], list(arguments[1:])
    if command == "setup":
        if options not in ([], ["--dev"]):
            raise GaveUp("usage: python3 studio.py setup [--dev]", USAGE)
        prepare(EVERYTHING if options else ROLES)
        say(f"ready: {VENV / 'bin' / 'studio'} and {VENV / 'bin' / 'gprofiler'}")
        return 0
    wanted = EVERYTHING if command in NEEDS_EVERYTHING else ROLES
    if not is_prepared(wanted):
        prepare(wanted)
    return hand_over(["check" if command == "test" else command, *options])


def hand_over(arguments: Sequence[str]) -> NoReturn:
    """Become `.venv/bin/studio`: same process, so that signals and exit codes need no forwarding."""
    studio = str(VENV / "bin" / "studio")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(studio, [studio, *arguments])  # noqa: S606  no shell is wanted


# What is there already --------------------------------------------------------------------------------------------


def digest() -> str:
    """What the environment is built from."""
    sources = (ROOT / "pyproject.toml", ROOT / "uv.lock")
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def stamped() -> dict[str, object]:
    """What the last preparation left in `.venv`; nothing when there was none or its Python has gone."""
    if not (VENV / "bin" / "python").exists() or not (VENV / "bin" / "studio").exists():
        return {}
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_prepared(wanted: Sequence[str]) -> bool:
    """Whether `.venv` was built here, from these files, with at least these extras."""
    stamp = stamped()
    extras = stamp.get("extras")
    return (
        stamp.get("digest") == digest()
        and stamp.get("root") == str(ROOT)
        and isinstance(extras, list)
        and set(wanted) <= set(extras)
    )


# Preparing --------------------------------------------------------------------------------------------------------


def prepare(wanted: Sequence[str]) -> None:
    """Bring `.venv` in step with `uv.lock`; one process at a time.

    Raises:
        GaveUp: a tool is missing or the package index could not be reached.
    """
    started = time.monotonic()
    TOOLS.mkdir(exist_ok=True)
    with only_one_at_a_time():
        environment, mirror = settings(os.environ, pip_settings())
        uv = find_uv(environment) or fetch_uv(environment)
        stamp = stamped()
        known = stamp.get("extras")
        extras = sorted({*wanted, *(known if isinstance(known, list) else ())})
        moved = bool(stamp) and stamp.get("root") != str(ROOT)
        say(f"preparing .venv ({', '.join(extras)})")
        for part, compiled in in_parts(extras):
            if mirror:
                install_from_mirror(uv, part, environment, compiled=compiled)
            else:
                sync(uv, part, environment, reinstall=moved, compiled=compiled or moved)
        STAMP.write_text(json.dumps({"digest": digest(), "root": str(ROOT), "extras": extras}), encoding="utf-8")
    say(f"prepared in {time.monotonic() - started:.0f} s")


def in_parts(extras: Sequence[str]) -> list[tuple[Sequence[str], bool]]:
    """What to install one after the other, and whether to compile it at once.

    What only tests need is more than half of everything, and little of it is ever imported.
    """
    if "dev" not in extras:
        return [(extras, True)]
    return [([extra for extra in extras if extra != "dev"], True), (extras, False)]


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold `.tools/lock`: two runs side by side must not write the same files. The kernel frees it if we die."""
    with LOCK.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            say(f"waiting for another run (pid {lock.read().strip() or 'unknown'}) to finish preparing")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def find_uv(environment: dict[str, str]) -> str | None:
    """A uv that is new enough: the one fetched before, else one on PATH."""
    for candidate in (str(TOOLS / f"uv-{UV_VERSION}" / "bin" / "uv"), shutil.which("uv")):
        if candidate is None or not Path(candidate).exists():
            continue
        asked = subprocess.run(  # noqa: PLW1510  a broken uv is only passed over
            [candidate, "--version"], capture_output=True, text=True, env=environment
        )
        words = asked.stdout.split()
        if asked.returncode == 0 and len(words) > 1 and version(words[1]) >= version(UV_VERSION):
            return candidate
    return None


def version(text: str) -> tuple[int, ...]:
    """`0.13.9` as numbers that compare."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def fetch_uv(environment: dict[str, str]) -> str:
    """Fetch the pinned uv with pip into a folder of its own: nothing outside `.tools` changes.

    Raises:
        GaveUp: there is no pip, or it could not fetch.
    """
    home = TOOLS / f"uv-{UV_VERSION}"
    unfinished = TOOLS / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    say(f"fetching uv {UV_VERSION} (20 MB) into {TOOLS}")
    pip = [python(), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(unfinished)]
    done = subprocess.run(  # noqa: PLW1510  the failure is explained below
        [*pip, *install, f"uv=={UV_VERSION}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PIP_RETRIES": "2", **environment, "PIP_USER": "0"},
    )
    if done.returncode != 0:
        if "No module named pip" in done.stdout:
            raise GaveUp(f"{python()} has no pip: install it (Debian: apt-get install python3-pip)")
        print("\n".join(done.stdout.splitlines()[-12:]), file=sys.stderr)
        raise GaveUp("uv could not be fetched\n" + NO_INDEX.format(version=UV_VERSION), UNREACHABLE)
    shutil.rmtree(home, ignore_errors=True)
    unfinished.rename(home)
    return str(home / "bin" / "uv")


def sync(
    uv: str, extras: Sequence[str], environment: dict[str, str], *, reinstall: bool, compiled: bool = True
) -> None:
    """Install what `uv.lock` names, from where it names it.

    What else is in `.venv` stays, unless all of the extras are wanted: then the environment is made exact. Compiled at
    once, by every core: else each role of the first start compiles what they share, and where PYTHONDONTWRITEBYTECODE
    is set every start of each role does.
    """
    command = [uv, "sync", "--frozen", *(("--compile-bytecode",) if compiled else ()), "--project", str(ROOT)]
    command += [word for extra in extras for word in ("--extra", extra)]
    if set(extras) != set(EVERYTHING):
        command.append("--inexact")
    if reinstall:
        command.append("--reinstall")
    run_uv(command, environment)


def install_from_mirror(
    uv: str, extras: Sequence[str], environment: dict[str, str], *, venv: Path | None = None, compiled: bool = True
) -> None:
    """Install what `uv.lock` names, by its hashes, from the user's own index.

    `uv sync --frozen` always goes to the addresses in the lock file, and so past the mirror that a closed network has.
    """
    venv = venv or VENV
    pinned = TOOLS / "pinned.txt"
    export = [uv, "export", "--frozen", "--quiet", "--no-emit-project", "--project", str(ROOT), "-o", str(pinned)]
    run_uv([*export, *(word for extra in extras for word in ("--extra", extra))], environment)
    if not (venv / "bin" / "python").exists():
        run_uv([uv, "venv", "--quiet", "--clear", "--python", python(), str(venv)], environment)
    install = [uv, "pip", "install", *(("--compile-bytecode",) if compiled else ())]
    install += ["--python", str(venv / "bin" / "python")]
    run_uv([*install, "--require-hashes", "-r", str(pinned)], environment)
    run_uv([*install, "--no-deps", "-e", str(ROOT)], environment)


def run_uv(command: Sequence[str], environment: dict[str, str]) -> None:
    """Run uv and pass its progress on to stderr, without the list of every package.

    Raises:
        GaveUp: it failed, most likely for want of a package index.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    ) as uv:
        for line in uv.stdout or ():
            if not line.startswith((" + ", " - ", " ~ ")):
                print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
    if uv.returncode != 0:
        raise GaveUp(f"`uv {command[1]}` failed\n" + NO_INDEX.format(version=UV_VERSION), UNREACHABLE)


# The user's settings ----------------------------------------------------------------------------------------------


def pip_settings() -> dict[str, str]:
    """What `pip install` is told by its configuration files and by PIP_ variables: `{"index-url": ...}`."""
    listed = subprocess.run(  # noqa: PLW1510  without pip there are no settings
        [python(), "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    found: dict[str, tuple[int, str]] = {}
    for line in listed.stdout.splitlines():  # `global.index-url='https://…'`, sorted by section
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        rank = PIP_SECTIONS.index(section) if section in PIP_SECTIONS else -1
        if rank >= found.get(option, (0, ""))[0]:
            found[option] = (rank, value.strip("'\""))
    return {option: value for option, (_, value) in found.items()}


def settings(inherited: os._Environ[str] | dict[str, str], pip: dict[str, str]) -> tuple[dict[str, str], bool]:
    """The environment for pip and uv, and whether packages come from an index of the user's own.

    What the user says to uv wins over what they say to pip, and nothing is set that they did not say, but for these:
    uv downloads no Python, and works on this project's `.venv`.
    """
    environment = {name: value for name, value in inherited.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    if "UV_DEFAULT_INDEX" not in environment and "UV_INDEX_URL" not in environment and pip.get("index-url"):
        environment["UV_INDEX_URL"] = pip["index-url"]
    if pip.get("cert"):
        environment.setdefault("SSL_CERT_FILE", pip["cert"])
    if pip.get("proxy"):
        environment.setdefault("HTTPS_PROXY", pip["proxy"])
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment["UV_PROJECT_ENVIRONMENT"] = str(VENV)
    if not (VENV / "bin" / "python").exists():
        environment["UV_PYTHON"] = python()
    index = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or ""
    return environment, bool(index) and not index.startswith("https://pypi.org/")


def python() -> str:
    """The Python that runs this file, also when it runs from a virtual environment."""
    return str(getattr(sys, "_base_executable", sys.executable))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
