"""How processes become an inventory: whose they are, what is named, and what does not fit."""

import json
import os
from pathlib import Path

import pytest

from agent.containers import HOST, Home
from agent.inventory import (
    MOST_BYTES,
    Found,
    Label,
    Names,
    PodName,
    compiled,
    label,
    names_by_logs,
    read_stat,
    without_descendants,
)
from agent.surroundings import Surroundings, own_pod
from protocol.heartbeats import Heartbeat
from protocol.inventory import MOST_CONTAINERS, MOST_PROCESSES, Container, RunningProcess

ID, SANDBOX, OTHER = "ab" * 32, "cd" * 32, "ef" * 32
UID = "74c13223-5a00-11e9-b385-42010a80018d"
REST = "1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 77"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"7 (java) S 3 {REST.format(flags=4194304)}", (3, "java")),
        (f"7 (a) b (c) R 3 {REST.format(flags=0)}", (3, "a) b (c")),
        (f"7 (kworker/0:1) I 2 {REST.format(flags=0x0420_8060 | 0x0020_0000)}", None),
        (f"7 (gone) Z 3 {REST.format(flags=0)}", None),
        ("", None),
    ],
)
def test_a_process_is_read_by_its_stat_without_kernel_threads_and_zombies(
    text: str, read: tuple[int, str] | None
) -> None:
    assert read_stat(text) == read


def test_processes_are_told_by_container_and_the_hosts_own_without_id_and_name() -> None:
    found = [
        Found(9, 1, "cron"),
        Found(8, 1, "web", Home(ID, "docker")),
        Found(7, 1, "sh", Home(ID, "docker")),
    ]
    of_container, of_host = compiled(found, Names()).containers
    assert of_container == Container(
        container_id=ID,
        container_name="abababababab",
        runtime="docker",
        processes=(RunningProcess(pid=7, process_name="sh"), RunningProcess(pid=8, process_name="web")),
    )
    assert of_host == Container(container_name="", processes=(RunningProcess(pid=9, process_name="cron"),))
    assert not of_host.is_one
    assert compiled(reversed(found), Names()) == compiled(found, Names()), "the order of a look is no change"


def test_names_come_from_the_files_of_the_kubelet() -> None:
    names = names_by_logs(
        [f"cart-7d9f_shop_app-{ID}.log", f"odd_{ID}.log", "nonsense"],
        [f"shop_cart-7d9f_{UID}", "nonsense"],
        own={},
    )
    found = [
        Found(1, 0, "app", Home(ID, "containerd", UID)),
        Found(2, 0, "pause", Home(SANDBOX, "containerd", UID)),
        Found(3, 0, "x", Home(OTHER, "containerd", "9" * 32)),
        Found(4, 0, "helper", Home(None, None, UID)),
        Found(5, 0, "helper", Home(None, None, "9" * 32)),
    ]
    told = [
        (each.container_id, each.container_name, each.pod_name, each.namespace, [one.pid for one in each.processes])
        for each in compiled(found, names).containers
    ]
    assert told == [
        (None, "", "cart-7d9f", "shop", [4]),
        (ID, "app", "cart-7d9f", "shop", [1]),
        (SANDBOX, "cdcdcdcdcdcd", "cart-7d9f", "shop", [2]),
        (OTHER, "efefefefefef", None, None, [3]),
        (None, "", None, None, [5]),
    ]


def test_the_agents_own_pod_is_named_by_its_environment_where_no_file_tells() -> None:
    own = own_pod({"POD_NAME": "profiler-x", "NAMESPACE": "ops"})
    assert own == PodName("profiler-x", "ops")
    assert own_pod({"NAMESPACE": "ops"}) is None
    found = [Found(1, 0, "gprofiler", Home(ID, None, UID))]
    (told,) = compiled(found, names_by_logs([], [], own={UID: own})).containers
    assert (told.pod_name, told.namespace) == ("profiler-x", "ops")
    (told,) = compiled(found, names_by_logs([], [f"kube_real_{UID}"], own={UID: own})).containers
    assert (told.pod_name, told.namespace) == ("real", "kube")


def test_what_the_agent_starts_itself_is_no_change_of_what_runs() -> None:
    found = [Found(10, 1, "gprofiler"), Found(11, 10, "perf"), Found(12, 11, "perf"), Found(13, 1, "web")]
    assert [each.pid for each in without_descendants(found, of=10)] == [10, 13]
    looped = [Found(1, 2, "a"), Found(2, 1, "b")]
    assert without_descendants(looped, of=10) == looped, "numbers that were read at two moments may form a ring"


@pytest.mark.parametrize(
    ("containers", "each", "name"), [(1, 30_000, "x"), (3_000, 1, "x"), (2_000, 20, "a" * 15), (1, 20_000, "\x01" * 15)]
)
def test_an_inventory_keeps_to_the_servers_bounds_and_counts_the_rest(containers: int, each: int, name: str) -> None:
    found = [
        Found(1 + number * each + process, 0, name, Home(f"{number:064x}", "docker"))
        for number in range(containers)
        for process in range(each)
    ]
    told = compiled([Found(2**31 - 1, 0, "cron", HOST), *found], Names())
    beat = Heartbeat(ip_address="::1", hostname="h", service_name="s", containers=list(told.containers))
    sent = sum(len(one.processes) for one in told.containers)
    assert len(told.containers) <= MOST_CONTAINERS
    assert 0 < sent <= MOST_PROCESSES
    assert sent + told.left_out == 1 + containers * each
    assert "cron" not in {process.process_name for one in told.containers for process in one.processes}
    assert len(beat.model_dump_json(exclude_none=True, exclude_defaults=True)) < MOST_BYTES + 1_000


def test_this_host_is_looked_at_without_what_this_process_has_started(tmp_path: Path) -> None:
    seen = Surroundings(None, logs=tmp_path / "none", log_folders=tmp_path).look()
    pids = {process.pid for each in seen.containers for process in each.processes}
    assert {os.getpid(), os.getppid()} <= pids
    assert json.loads(Heartbeat(
        ip_address="::1", hostname="h", service_name="s", containers=list(seen.containers)
    ).model_dump_json())["containers"]  # fmt: skip


def test_a_process_is_labelled_with_what_it_runs_in() -> None:
    names = names_by_logs([f"cart-1_shop_app-{ID}.log"], [f"shop_cart-1_{UID}"], own={})
    assert label(Home(ID, "containerd", UID), names) == Label(ID, "app", "containerd", "shop", "cart-1")
    assert label(Home(None, None, UID), names) == Label(None, "", None, "shop", "cart-1")
    assert label(Home(None, None, "9" * 32), names) is None
    assert label(HOST, names) is None


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        (Label(ID, "app", "containerd", "shop", "cart-1"), f"k8s_app_cart-1_shop_{ID[:12]}_0"),
        (Label(ID, None, "containerd", "shop", "cart-1"), f"k8s_{ID[:12]}_cart-1_shop_{ID[:12]}_0"),
        (Label(ID, "app", "docker"), "app"),
        (Label(ID), ID[:12]),
        (Label(None, "", None, "shop", "cart-1"), ""),
    ],
    ids=["of a pod", "of a pod, without a name", "of docker", "without a name", "a pod's process in no container"],
)
def test_a_container_is_one_word_that_servers_of_the_field_take_apart(labels: Label, column: str) -> None:
    assert labels.container == column


def test_processes_of_the_host_and_those_that_are_gone_have_no_labels(tmp_path: Path) -> None:
    assert Surroundings(None, logs=tmp_path, log_folders=tmp_path).labels([2**22 + 1]) == {}
