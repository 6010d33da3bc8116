#!/usr/bin/env python3
"""Build gprofiler as one file that needs no Python: `build/MACHINE/gprofiler`.

    python3 scripts/build_executable.py x86_64 [--fast]

PyInstaller gathers the program, the Python that runs this and what both need into a folder; that folder is packed
behind a few lines of shell, which unpack it once on the host that runs it. Needs what `studio.py` needs, and of Debian
binutils and, for Debian's own Python, libpython3. The C library of the hosts must be as new as this machine's.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Sequence  # noqa: UP035  as in studio.py

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import studio  # noqa: E402  it lies in the folder above

MACHINES = ("x86_64", "aarch64")
PACKAGES = ("agent", "formats", "protocol")
EXTRAS = ("agent", "build")
NOT_NEEDED = (
    "tkinter",
    "unittest",
    "pydoc",
    "lib2to3",
    "setuptools",
    "pip",
    "rich",
    "pygments",
    "sqlite3",
    "curses",
    "pytest",
)
HEADER = Path(__file__).with_name("executable_header.sh")
FAST, SMALL = 1, 9


def main(arguments: Sequence[str]) -> int:
    """Build it, and put what went wrong into words."""
    parser = argparse.ArgumentParser(description="Build gprofiler as one file that needs no Python.")
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--fast", action="store_true", help="for development: keep what was analysed, pack loosely")
    given = parser.parse_args(arguments)
    try:
        build(given.machine, fast=given.fast)
    except studio.GaveUp as stop:
        studio.say(str(stop))
        return stop.code
    return 0


def build(machine: str, *, fast: bool) -> Path:
    """Build it; gives the file.

    Raises:
        GaveUp: this machine cannot.
    """
    if platform.machine() != machine:
        raise studio.GaveUp(f"this is {platform.machine()}: an executable for {machine} is built on such a machine")
    if shutil.which("objcopy") is None:
        raise studio.GaveUp("objcopy is missing: apt-get install binutils")
    home = ROOT / "build" / machine
    folder = gather(home, python_with_the_agent(), fast=fast)
    target = pack(folder, home / "gprofiler", level=FAST if fast else SMALL)
    told = subprocess.run([folder / "gprofiler", "--version"], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise studio.GaveUp(f"what was built does not run\n{told.stderr}")
    studio.say(f"{told.stdout.strip()}: {target} ({target.stat().st_size / 2**20:.0f} MiB)")
    return target


def python_with_the_agent() -> Path:
    """A Python that has the agent's packages at the versions of `uv.lock`, and nothing that it does not need."""
    venv = ROOT / "build" / "env"
    studio.TOOLS.mkdir(exist_ok=True)
    with studio.only_one_at_a_time():
        environment, mirror = studio.settings(os.environ, studio.pip_settings())
        environment |= {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_PYTHON": studio.python()}
        uv = studio.find_uv(environment) or studio.fetch_uv(environment)
        if mirror:
            studio.install_from_mirror(uv, EXTRAS, environment, venv=venv)
        else:
            studio.sync(uv, EXTRAS, environment, reinstall=False, compiled=False)  # it is read as source
    return venv / "bin" / "python"


def gather(home: Path, python: Path, *, fast: bool) -> Path:
    """Gather the program and all it needs in a folder; gives the folder.

    Raises:
        GaveUp: PyInstaller could not.
    """
    command = [
        str(python), "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--onedir", "--name", "gprofiler",
        "--distpath", str(home / "gathered"), "--workpath", str(home / "work"), "--specpath", str(home),
        "--paths", str(ROOT), "--copy-metadata", "performance-studio",
        *(word for package in PACKAGES for word in ("--collect-submodules", package, "--collect-data", package)),
        *(word for module in NOT_NEEDED for word in ("--exclude-module", module)),
        *(() if fast else ("--clean", "--strip")),
        str(ROOT / "scripts" / "executable.py"),
    ]  # fmt: skip
    studio.say(f"gathering what the agent needs on {home.name}")
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        hint = "\nDebian: apt-get install libpython3-dev" if "shared library" in done.stdout else ""
        raise studio.GaveUp("\n".join(done.stdout.splitlines()[-20:]) + hint)
    folder = home / "gathered" / "gprofiler"
    shutil.copy2(python.with_name("py-spy"), folder / "py-spy")
    return folder


def pack(folder: Path, target: Path, *, level: int) -> Path:
    """Put the folder behind the lines of shell that unpack it. The same folder gives the same file."""
    archive = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=archive, mode="wb", compresslevel=level, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as files,
    ):
        for path in sorted(folder.rglob("*")):
            files.add(path, path.relative_to(folder), recursive=False, filter=nobodys)
    payload = archive.getvalue()
    header = HEADER.read_text(encoding="utf-8").replace("@DIGEST@", hashlib.sha256(payload).hexdigest()[:16])
    header = header.replace("@LINES@", str(header.count("\n") + 1))
    unfinished = target.with_name(f".{target.name}")
    unfinished.write_bytes(header.encode() + payload)
    unfinished.chmod(0o755)
    unfinished.replace(target)
    return target


def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without what this machine says of it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
