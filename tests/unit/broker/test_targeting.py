"""Which processes a request's entities mean, by what runs on the hosts; never more than was asked."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.targeting import MOST_LEFT_OUT, Seen, Selection, found_on, pids_on
from protocol.inventory import Container
from protocol.targets import TargetEntity


def a_container(*pids: int, process_name: str = "java", **said: Any) -> Container:
    processes = [{"pid": pid, "process_name": process_name} for pid in pids]
    return Container.model_validate({"container_name": "app", "processes": processes, **said})


def an_entity(**said: Any) -> TargetEntity:
    return TargetEntity.model_validate(said)


def select(*entities: TargetEntity, **hosts: list[Container]) -> Selection:
    selection = Selection(entities)
    for name, containers in hosts.items():
        selection.look_at(Seen(name, f"10.0.0.{len(name)}", containers))
    return selection


def told(selection: Selection) -> list[tuple[str, str]]:
    return [(fault.field, fault.code) for fault in selection.faults()]


CART = {"namespace": "shop", "pod_name": "cart-0", "workload_name": "cart"}


def test_a_namespace_is_all_of_its_pods_on_every_host() -> None:
    selection = select(
        an_entity(namespace="shop"),
        a=[a_container(1, 2, **CART), a_container(9, namespace="ops")],
        b=[a_container(3, **{**CART, "pod_name": "cart-1"})],
        c=[a_container(4)],
    )
    assert selection.targets == {"a": [1, 2], "b": [3]}
    assert told(selection) == []


def test_everything_that_an_entity_says_must_hold() -> None:
    host = [a_container(1, **CART), a_container(2, **{**CART, "namespace": "test"}), a_container(3, pod_name="cart-0")]
    assert select(an_entity(pod_name="cart-0", namespace="shop"), a=host).targets == {"a": [1]}
    assert select(an_entity(pod_name="cart-0"), a=host).targets == {"a": [1, 2, 3]}
    assert select(an_entity(pod_name="cart-0", hostname="b"), a=host, b=host[:1]).targets == {"b": [1]}
    assert select(an_entity(pod_name="cart-0", ip_address="10.0.0.2"), a=host, bb=host[:1]).targets == {"bb": [1]}


def test_a_process_is_meant_by_number_or_name() -> None:
    host = [a_container(1, 2, **CART), a_container(3, process_name="sh", **CART)]
    assert select(an_entity(pid=2, hostname="a"), a=host, b=host).targets == {"a": [2]}
    assert select(an_entity(process_name="sh"), a=host).targets == {"a": [3]}
    assert told(select(an_entity(pid=2, process_name="sh", hostname="a"), a=host)) == [
        ("target_entities.0", "unknown_target")
    ]


def test_each_entity_that_means_nothing_is_named() -> None:
    selection = select(
        an_entity(pod_name="gone"), an_entity(pod_name="cart-0"), an_entity(pod_name="lost"), a=[a_container(1, **CART)]
    )
    assert told(selection) == [("target_entities.0", "unknown_target"), ("target_entities.2", "unknown_target")]


def test_a_container_whose_processes_are_not_known_is_never_taken_for_the_host() -> None:
    selection = select(an_entity(pod_name="cart-0"), a=[a_container(**CART)])
    assert selection.targets == {}
    assert told(selection) == [("target_entities.0", "no_processes")]
    (fault,) = selection.faults()
    assert "app of pod cart-0 on host a" in fault.message


def test_a_container_without_known_processes_is_left_out_and_said_so_where_others_are_meant_too() -> None:
    selection = select(an_entity(pod_name="cart-0"), a=[a_container(1, **CART), a_container(**CART)])
    assert selection.targets == {"a": [1]}
    assert told(selection) == []
    assert selection.warnings() == ["app of pod cart-0 on host a is left out: its processes are not known"]
    many = select(an_entity(pod_name="cart-0"), a=[a_container(1, **CART), *[a_container(**CART)] * 100])
    assert len(many.warnings()) == MOST_LEFT_OUT


def test_more_processes_than_a_request_may_name_are_refused() -> None:
    selection = select(an_entity(namespace="shop"), a=[a_container(*range(1, 1_002), **CART)])
    assert told(selection) == [("target_entities.0", "too_many_processes")]
    assert told(select(an_entity(namespace="shop"), a=[a_container(*range(1, 1_001), **CART)])) == []


names = st.none() | st.sampled_from(["a", "b"])
entities = st.builds(
    lambda **said: TargetEntity.model_validate({name: value for name, value in said.items() if value is not None}),
    hostname=names, namespace=names, pod_name=names, container_name=names, process_name=names,
    pid=st.none() | st.integers(1, 3),
)  # fmt: skip
containers = st.builds(
    lambda pids, name, **said: a_container(*pids, process_name=name, **said),
    st.sets(st.integers(1, 4)), st.sampled_from(["a", "b"]),
    namespace=names, pod_name=names, container_name=names,
)  # fmt: skip


@given(asked=st.lists(entities, min_size=1, max_size=3), there=st.lists(containers, max_size=4))
def test_no_process_is_chosen_that_no_entity_means(asked: list[TargetEntity], there: list[Container]) -> None:
    host = Seen("a", "", there)
    for pid in pids_on(host, asked):
        assert any(
            entity.hostname in {None, "a"}
            and entity.pid in {None, pid}
            and any(
                process.pid == pid
                and entity.process_name in {None, process.process_name}
                and all(
                    getattr(entity, name) in {None, getattr(container, name)}
                    for name in ("namespace", "pod_name", "container_name")
                )
                for container in there
                for process in container.processes
            )
            for entity in asked
        )


@given(wide=entities, narrow=entities, there=st.lists(containers, max_size=4))
def test_what_is_covered_is_meant_by_the_wider_one_too(
    wide: TargetEntity, narrow: TargetEntity, there: list[Container]
) -> None:
    host = Seen("a", "", there)
    if wide.covers(narrow):
        assert set(pids_on(host, [narrow])) <= set(pids_on(host, [wide]))
    assert narrow.covers(narrow)
    assert list(found_on(host, narrow)) == list(found_on(host, narrow.model_copy()))
