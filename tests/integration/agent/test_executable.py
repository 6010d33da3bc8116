"""The agent as one file: built by our script, run here and in a root that has no Python."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import frozen
from agent.executable import hold, sweep
from tests.support.agents import alive, busy_python, command_line, offspring
from tests.support.executable import executable
from tests.support.fake_server import TOKEN, FakeServer, start
from tests.support.jvms import hot_java
from tests.support.processes import Role, eventually
from tests.support.tools import needs, needs_root

pytestmark = [pytest.mark.timeout(400), needs("objcopy")]


@pytest.fixture(scope="module")
def unpacking_a_root(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, "subprocess.Popen[str] | None"]]:
    """A root for later, while the executable is built."""
    root = tmp_path_factory.mktemp("bare") / "root"
    command = ["debootstrap", "--foreign", "--variant=minbase", "stable", str(root)]
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        yield root, None
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as debootstrap:
        yield root, debootstrap
        debootstrap.terminate()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def built(unpacking_a_root: object) -> Path:
    return executable()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the executable of these tests unpacks itself."""
    return tmp_path_factory.mktemp("unpacked") / "program"


def run(program: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GPROFILER_UNPACK_DIR": str(home)}
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_unpacks_once_and_says_its_version(built: Path, unpacked: Path) -> None:
    said = run(built, unpacked, "--version")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("gprofiler, version ")
    (program,) = [path for path in unpacked.iterdir() if path.name.startswith("gprofiler-")]
    made = (program / "gprofiler").stat().st_mtime_ns, program.stat().st_ino
    run(built, unpacked, "--version")
    assert ((program / "gprofiler").stat().st_mtime_ns, program.stat().st_ino) == made
    assert not list(unpacked.glob(".unpacking-*"))
    assert unpacked.stat().st_mode & 0o077 == 0


def test_it_profiles_and_its_profilers_run_on_a_leash(built: Path, unpacked: Path, tmp_path: Path) -> None:
    with busy_python() as (pid,):
        said = run(built, unpacked, "-o", str(tmp_path), "-d", "2", "-f", "50", "--pids", str(pid))
    assert said.returncode == 0, said.stderr
    assert "hot_loop" in (tmp_path / "last_profile.col").read_text()


def test_killed_it_leaves_no_profiler_and_no_token_is_ever_shown(built: Path, unpacked: Path, tmp_path: Path) -> None:
    argv = [
        str(built), "--enable-heartbeat-server", "-u", "--service-name", "web", "--hostname", "web-01",
        "--heartbeat-interval", "1", "--output-dir", str(tmp_path / "out"), "--state-dir", str(tmp_path / "state"),
        "--heartbeat-log", str(tmp_path / "beats.log"), "--token", TOKEN,
    ]  # fmt: skip
    with FakeServer() as server, busy_python() as pids:
        env = {"GPROFILER_UNPACK_DIR": str(unpacked), "NO_PROXY": "127.0.0.1"}
        agent = Role("agent", [*argv, "--api-server", server.url], env=env, log=tmp_path / "agent.log")
        try:
            server.offer("c1", start(pids=pids, duration=60))
            server.running("c1", within=40)
            profilers = offspring(agent.pid)
            assert profilers
            for process in (agent.pid, *(profiler.pid for profiler in profilers)):
                assert TOKEN not in command_line(process)
            for profiler in profilers:
                assert not {"GPROFILER_TOKEN", "LD_LIBRARY_PATH"} & set(profiler.environ())
        finally:
            agent.kill()
        eventually(lambda: not any(alive(profiler) for profiler in profilers), what="the end of every profiler")
    assert TOKEN not in agent.log.read_text()


def test_another_users_folder_is_not_run(built: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    run(built, tmp_path / "program", "--version")
    os.chown(tmp_path / "program", 65_534, 65_534)
    said = run(built, tmp_path / "program", "--version")
    assert said.returncode == 1
    assert "belongs to another user" in said.stderr


def test_versions_that_nobody_runs_are_swept_away(tmp_path: Path) -> None:
    ours, running, idle, strange = (
        tmp_path / name for name in ("gprofiler-3", "gprofiler-2", "gprofiler-1", "gprofiler-x")
    )
    for folder in (ours, running, idle, strange):
        folder.mkdir()
    os.close(hold(idle))
    mark = hold(running)
    try:
        assert sweep(ours) == [idle]
    finally:
        os.close(mark)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gprofiler-2", "gprofiler-3", "gprofiler-x"]


def test_programs_of_the_host_get_the_hosts_libraries() -> None:
    changed = {"LD_LIBRARY_PATH": "/bundle", "LD_LIBRARY_PATH_ORIG": "/mine", "_PYI_ARCHIVE_FILE": "x", "A": "1"}
    assert frozen.environment_of_the_host(changed) == {"LD_LIBRARY_PATH": "/mine", "A": "1"}
    assert frozen.environment_of_the_host({"LD_LIBRARY_PATH": "/bundle", "A": "1"}) == {"A": "1"}


# In a root without Python ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_root(unpacking_a_root: tuple[Path, "subprocess.Popen[str] | None"]) -> Path:
    """The packages that Debian cannot do without, unpacked: no Python, no perf."""
    root, debootstrap = unpacking_a_root
    assert debootstrap is not None, "there is no debootstrap"
    told, _ = debootstrap.communicate(timeout=300)
    assert debootstrap.returncode == 0, told[-2000:]
    proc = root / "proc"
    if proc.is_symlink():  # what debootstrap makes in a container that may mount nothing
        proc.unlink()
        proc.mkdir()
    return root


@pytest.mark.needs_root
@needs_root
@needs("debootstrap", "unshare", "chroot")
def test_it_profiles_from_a_root_that_has_no_python(built: Path, bare_root: Path) -> None:
    shutil.copy(built, bare_root / "gprofiler")
    inside = (
        f"mount -t proc proc {bare_root}/proc && exec chroot {bare_root} /bin/sh -c "
        '\'! command -v python3 && exec /gprofiler -o /out -d 2 -f 50 --pids "$1"\' sh "$0"'
    )
    with busy_python() as (pid,):
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside, str(pid)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hot_loop" in (bare_root / "out" / "last_profile.col").read_text()
    assert list((bare_root / "var/lib/gprofiler/program").glob("gprofiler-*/gprofiler"))


@needs("java")
def test_it_speaks_to_a_jvm_without_a_python(built: Path, unpacked: Path, tmp_path: Path) -> None:
    with hot_java() as process:
        said = run(built, unpacked, "-o", str(tmp_path), "-d", "2", "--pids", str(process.pid))
    assert said.returncode == 0, said.stderr
    assert "HotJava.spinMuch" in (tmp_path / "last_profile.col").read_text()
