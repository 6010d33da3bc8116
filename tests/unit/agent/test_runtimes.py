import subprocess
from pathlib import Path

import pytest

from agent import runtimes
from agent.processes import ProcessTable, is_alive
from agent.runtimes import Runtime
from tests.support.processes import eventually


@pytest.mark.parametrize(
    ("executable", "runtime"),
    [
        ("/usr/bin/python3.11", "python"),
        ("/usr/bin/python", "python"),
        ("/opt/py/bin/python3.13t (deleted)", "python"),
        ("/usr/bin/pythonize-logs", None),
        ("/usr/lib/jvm/java-17-openjdk-amd64/bin/java", "java"),
        ("/usr/bin/javac", None),
        ("/usr/bin/node", "node"),
        ("/usr/bin/nodejs", "node"),
        ("/usr/bin/node_exporter", None),
        ("/usr/bin/ruby3.1", "ruby"),
        ("/usr/sbin/php-fpm8.2", "php"),
        ("/usr/bin/php", "php"),
        ("/usr/share/dotnet/dotnet", "dotnet"),
        ("/usr/sbin/nginx", None),
    ],
)
def test_a_runtime_is_known_by_its_executable(executable: str, runtime: Runtime | None) -> None:
    assert runtimes.by_name(executable) == runtime


@pytest.mark.parametrize(
    ("mapped", "runtime"),
    [
        (["/lib/libc.so.6", "/usr/lib/libpython3.11.so.1.0"], "python"),
        (["/tmp/_MEI1/libpython3.12.so"], "python"),
        (["/usr/lib/jvm/jre/lib/server/libjvm.so (deleted)"], "java"),
        (["/usr/lib/x86_64-linux-gnu/libnode.so.108"], "node"),
        (["/usr/lib/libruby-3.1.so.3.1"], "ruby"),
        (["/opt/app/libcoreclr.so"], "dotnet"),
        (["/usr/lib/apache2/modules/libphp8.2.so"], "php"),
        (["/usr/share/python3/python3.vim", "/usr/lib/libc.so.6"], None),
        (["/usr/lib/python3/dist-packages/x.py"], None),
        (["/usr/lib/libpython3.11.so.1.0.bak"], None),
    ],
)
def test_an_embedded_runtime_is_known_by_its_library(mapped: list[str], runtime: Runtime | None) -> None:
    assert runtimes.by_library(mapped) == runtime


def test_a_program_of_go_is_known_by_its_note() -> None:
    note = b"\x7fELF" + bytes(4000) + b"\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0abc"
    assert runtimes.by_contents(note) == "go"
    assert runtimes.by_contents(b"\x7fELF and Go\0\0 by chance") == "native"


def test_a_real_program_without_a_runtime_is_native() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        eventually(lambda: ProcessTable().find(child.pid).name == "sleep", what="exec of sleep")
        assert ProcessTable().find(child.pid).runtime == "native"
    finally:
        child.kill()
        child.wait()


def test_a_thread_of_the_kernel_has_no_runtime() -> None:
    found = ProcessTable().all()
    threads = [one for one in found if not _has_executable(one.pid) and is_alive(one)]  # a program may just have ended
    assert all(process.runtime is None for process in threads)


def _has_executable(pid: int) -> bool:
    try:
        return bool(str(Path(f"/proc/{pid}/exe").readlink()))
    except OSError:
        return False
