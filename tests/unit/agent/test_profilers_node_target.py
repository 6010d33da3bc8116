"""When a process may be asked for its inspector: the kernel's texts in, a decision out."""

import os
from pathlib import Path

import psutil
import pytest

from agent.processes import Process, ProcessTable
from agent.profilers import node_target
from agent.profilers.node_target import NotToBeAsked
from agent.sockets import listening

SIGUSR1 = 1 << 9
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:240D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0
   1: 00000000000000000000000000000000:1F90 0000:0000 0A 0:0 00:0 0  0  0 4713 1 0000 100 0 0 10 0
   2: 0100007F:240D 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000 100 0 0 10 0
"""


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """This process, which is alive, shown as a Node that waits for the signal."""
    own = psutil.Process()
    folder = tmp_path / str(own.pid)
    folder.mkdir()
    (folder / "exe").symlink_to("/usr/bin/node")
    (folder / "maps").write_text("")
    show(tmp_path)
    return Process(own.pid, ProcessTable().find(own.pid).create_time, "node", "node")


def show(proc: Path, *, state: str = "S (sleeping)", caught: int = SIGUSR1, ignored: int = 0, blocked: int = 0) -> None:
    (proc / str(os.getpid()) / "status").write_text(
        f"Name:\tnode\nState:\t{state}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
    )


def test_a_node_with_its_handler_may_be_asked(process: Process, tmp_path: Path) -> None:
    node_target.check(process, proc=tmp_path)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({"caught": 0}, "no handler"),
        ({"caught": ~SIGUSR1 & (1 << 64) - 1}, "no handler"),
        ({"ignored": SIGUSR1}, "no handler"),
        ({"blocked": SIGUSR1}, "no handler"),
        ({"state": "T (stopped)"}, "stopped"),
        ({"state": "Z (zombie)"}, "stopped"),
    ],
)
def test_what_the_signal_would_end_or_reach_later_is_left_alone(
    process: Process, tmp_path: Path, shown: dict[str, int], reason: str
) -> None:
    show(tmp_path, **shown)  # type: ignore[arg-type]  # a row of the table
    with pytest.raises(NotToBeAsked, match=reason):
        node_target.check(process, proc=tmp_path)


def test_what_is_no_node_is_left_alone_whatever_it_catches(process: Process, tmp_path: Path) -> None:
    executable = tmp_path / str(os.getpid()) / "exe"
    executable.unlink()
    executable.symlink_to("/usr/sbin/nginx")
    with pytest.raises(NotToBeAsked, match="no longer Node"):
        node_target.check(process, proc=tmp_path)
    (executable.parent / "maps").write_text("7f00-7f01 r-xp 0 0:0 1    /usr/lib/libnode.so.109\n")
    node_target.check(process, proc=tmp_path)


def test_a_later_process_of_the_same_number_is_left_alone(process: Process, tmp_path: Path) -> None:
    earlier = Process(process.pid, process.create_time - 60, "node", "node")
    with pytest.raises(NotToBeAsked, match="ended"):
        node_target.check(earlier, proc=tmp_path)
    with pytest.raises(NotToBeAsked, match="ended"):
        node_target.ask(Process(2**22 + 1, 0, "node", "node"))


def test_sockets_that_listen_are_known_by_number_and_port() -> None:
    assert listening(TABLE.splitlines()) == {4711: 9229, 4713: 8080}


def test_ports_are_told_by_who_listens(tmp_path: Path) -> None:
    folder = tmp_path / "50"
    (folder / "fd").mkdir(parents=True)
    (folder / "net").mkdir()
    (folder / "net" / "tcp").write_text(TABLE)
    (folder / "fd" / "3").symlink_to("socket:[4711]")
    (folder / "fd" / "4").symlink_to("pipe:[4713]")
    assert node_target.ports(50, proc=tmp_path) == (frozenset({9229}), frozenset({9229, 8080}))
