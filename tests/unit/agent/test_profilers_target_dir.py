"""The agent's directory in a target's own `/tmp`, which others can write to."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.processes import Process, ProcessTable
from agent.profilers.target_dir import NoPlace, TargetDir, left_behind

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")
PROGRAM = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); print('in', flush=True); input()"


@contextlib.contextmanager
def rooted(root: Path) -> Iterator[Process]:
    """A process whose root directory is this one, as in a container."""
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        yield ProcessTable().find(child.pid)
    finally:
        child.communicate(b"\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


@as_root
def test_files_are_written_read_and_removed_in_the_targets_own_root(root: Path) -> None:
    with rooted(root) as target:
        place = TargetDir.make(target, {"settings": b"on"})
        inside = root / "tmp" / place.name
        assert place.path == f"/tmp/{place.name}"
        assert (inside / "settings").read_bytes() == b"on"
        assert inside.stat().st_mode & 0o777 == 0o700
        (inside / "recording").write_bytes(b"stacks")
        assert place.read("recording") == b"stacks"
        place.remove()
        assert list((root / "tmp").iterdir()) == []


@as_root
def test_a_tmp_that_is_a_link_is_not_followed_out_of_the_targets_root(tmp_path: Path) -> None:
    (victim := tmp_path / "victim").mkdir()
    (root := tmp_path / "root").mkdir()
    (root / "tmp").symlink_to(victim)
    with rooted(root) as target, pytest.raises(NoPlace, match="its /tmp is no directory that can be opened"):
        TargetDir.make(target, {"settings": b"on"})
    assert list(victim.iterdir()) == []


@as_root
def test_what_the_target_puts_there_instead_of_a_file_is_not_read(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    with rooted(root) as target:
        place = TargetDir.make(target, {})
        inside = root / "tmp" / place.name
        (inside / "link").symlink_to(secret)
        os.link(secret, inside / "hard")
        os.mkfifo(inside / "pipe")
        (inside / "large").write_bytes(b"x" * 100)
        for name in ("link", "hard", "pipe", "missing"):
            with pytest.raises(OSError, match=r"no plain file|symbolic link|No such file"):
                place.read(name)
        with pytest.raises(NoPlace, match="100 bytes, more than 10"):
            place.read("large", at_most=10)
        place.remove()
        assert secret.read_text() == "of the host"
        assert list((root / "tmp").iterdir()) == []


@as_root
def test_only_what_an_agent_that_is_gone_has_left_is_found(root: Path) -> None:
    with rooted(root) as target:
        mine = TargetDir.make(target, {"settings": b"on"})
        dead = root / "tmp" / f"gprofiler-{2**22 + 5}-77-{target.pid}-00ff"
        dead.mkdir()
        (dead / "recording").write_text("")
        reused = root / "tmp" / f"gprofiler-{os.getpid()}-1-{2**22 + 6}-00ff"
        reused.mkdir()
        (root / "tmp" / "gprofiler-by-somebody").mkdir()
        (theirs := root / "tmp" / f"gprofiler-{2**22 + 5}-78-{target.pid}-00ff").mkdir()
        (used := root / "tmp" / f"gprofiler-{2**22 + 5}-79-{os.getpid()}-00ff").mkdir()
        os.chown(theirs, 4242, 4242)
        found = list(left_behind(target))
        assert {place.name for place in found} == {dead.name, reused.name}
        for place in found:
            place.remove()
        mine.remove()
        assert {path.name for path in (root / "tmp").iterdir()} == {
            theirs.name, used.name, "gprofiler-by-somebody",
        }  # fmt: skip


USER = 64_242
MOUNTED = """
import ctypes, os, sys
libc, (uid, *mounts) = ctypes.CDLL(None, use_errno=True), sys.argv[1:]
assert libc.unshare(0x20000) == 0  # what any user may do in a user namespace of their own: mount over what they see
assert libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0
for what, where in zip(mounts[::2], mounts[1::2]):
    assert libc.mount(what.encode(), where.encode(), None, 0x5000, None) == 0, where
os.setgid(int(uid)), os.setuid(int(uid))
print("in", flush=True)
input()
"""


@contextlib.contextmanager
def mounting(*mounts: tuple[Path, Path], uid: int = USER) -> Iterator[Process]:
    """A process of a user who has mounted each first directory over the second, in a namespace of its own."""
    words = [str(word) for mount in mounts for word in mount]
    program = [sys.executable, "-c", MOUNTED, str(uid), *words]
    child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        yield ProcessTable().find(child.pid)
    finally:
        child.communicate(b"\n")


@pytest.fixture
def open_tmp(tmp_path: Path) -> Path:
    """What stands for a `/tmp` that everybody may write to."""
    (place := tmp_path / "open").mkdir()
    place.chmod(0o1777)
    return place


@pytest.fixture
def of_the_host(tmp_path: Path) -> Path:
    """A directory of root's, with a file in it."""
    (place := tmp_path / "etc").mkdir(mode=0o755)
    (place / "passwd").write_text("root")
    return place


@as_root
def test_a_directory_of_roots_that_is_mounted_as_tmp_gets_nothing(of_the_host: Path) -> None:
    with mounting((of_the_host, Path("/tmp"))) as target, pytest.raises(NoPlace, match="not its user's"):
        TargetDir.make(target, {"settings": b"on"})
    assert [path.name for path in of_the_host.iterdir()] == ["passwd"]


@as_root
def test_a_directory_of_roots_that_is_mounted_as_one_left_behind_keeps_its_files(
    open_tmp: Path, of_the_host: Path
) -> None:
    bait = f"gprofiler-{2**22 + 5}-77-{2**22 + 6}-00ff"
    (open_tmp / bait).mkdir()
    with mounting((of_the_host, open_tmp / bait), (open_tmp, Path("/tmp"))) as target:
        assert list(left_behind(target)) == []
    assert (of_the_host / "passwd").exists()


@as_root
def test_a_directory_of_roots_that_is_called_like_one_left_behind_keeps_its_files(
    open_tmp: Path, of_the_host: Path
) -> None:
    of_the_host.rename(moved := open_tmp / f"gprofiler-{2**22 + 5}-77-{2**22 + 6}-00ff")
    with mounting((open_tmp, Path("/tmp"))) as target:
        for place in left_behind(target):
            place.remove()
    assert (moved / "passwd").exists()


@as_root
def test_what_is_put_in_place_of_the_directory_just_made_is_not_given_away(
    open_tmp: Path, of_the_host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os_mkdir = os.mkdir

    def swapped(name: str, mode: int, *, dir_fd: int) -> None:
        os_mkdir(name, mode, dir_fd=dir_fd)
        (open_tmp / name).rename(open_tmp / "aside")
        of_the_host.rename(open_tmp / name)

    with mounting((open_tmp, Path("/tmp"))) as target:
        monkeypatch.setattr(os, "mkdir", swapped)
        with pytest.raises(NoPlace, match="another directory was put in place"):
            TargetDir.make(target, {"settings": b"on"})
    (taken,) = open_tmp.glob("gprofiler-*")
    assert taken.stat().st_uid == 0
    assert [path.name for path in taken.iterdir()] == ["passwd"]


@as_root
def test_a_file_of_another_user_is_not_read_out_of_the_target(open_tmp: Path) -> None:
    with mounting((open_tmp, Path("/tmp"))) as target:
        place = TargetDir.make(target, {})
        (open_tmp / place.name / "recording").write_text("root's, as a file that is mounted there would be")
        with pytest.raises(NoPlace, match="no plain file"):
            place.read("recording")
        os.chown(open_tmp / place.name / "recording", USER, USER)
        assert place.read("recording").startswith(b"root's")
        place.remove()
    assert list(open_tmp.iterdir()) == []


def test_a_target_that_has_ended_has_no_place() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert not psutil.pid_exists(child.pid)
    with pytest.raises(NoPlace, match="it has ended"):
        TargetDir.make(Process(child.pid, 0.0, "true", "java"), {})
