"""Root frames before the process's name: none in ours, up to two in the field's."""

from profiles.dialects import Labelled, labelled
from profiles.facts import Labels


def test_ours_begins_with_the_process_and_takes_labels_from_the_header() -> None:
    header = {
        "format": "collapsed", "metadata": {},
        "processes": [
            {"pid": 1, "name": "web", "samples": 3, "container": "c1", "pod": "p1", "runtime": "python"},
            {"pid": 2, "name": "web", "samples": 3, "container": "c2", "pod": "p1", "runtime": "python"},
            {"pid": 3, "name": "db"}, "no process", {"name": 3},
        ],
    }  # fmt: skip
    found = list(labelled(header, {"web;main": 3, "db;loop": 1, "other": 2}))
    assert found == [
        Labelled(Labels("web", "", "p1", "python"), "web;main", 3),
        Labelled(Labels("db"), "db;loop", 1),
        Labelled(Labels("other"), "other", 2),
    ]


def test_the_field_s_has_the_container_first() -> None:
    header = {"metadata": {"hostname": "a"}, "container_names_enabled": True}
    found = list(labelled(header, {"c1;web;main": 3, ";db;loop": 1, "alone": 2}))
    assert found == [
        Labelled(Labels("web", "c1"), "web;main", 3),
        Labelled(Labels("db"), "db;loop", 1),
        Labelled(Labels("alone"), "alone", 2),
    ]


def test_the_field_s_may_have_an_index_before_that() -> None:
    header = {"metadata": {"hostname": "a"}, "application_metadata_enabled": True}
    assert list(labelled(header, {"0;c1;web;main": 3, "1;;db;loop": 1})) == [
        Labelled(Labels("web", "c1"), "web;main", 3),
        Labelled(Labels("db"), "db;loop", 1),
    ]


def test_ours_comes_with_the_container_first_too_and_is_taken_apart_where_it_is_a_pod_s() -> None:
    header = {
        "metadata": {"hostname": "a"}, "container_names_enabled": True, "application_metadata_enabled": False,
        "processes": [
            {"name": "web", "container_name": "app", "pod_name": "web-7f", "runtime": "containerd"},
            {"name": "db", "runtime": "docker"}, {"name": "db", "runtime": "podman"},
        ],
    }  # fmt: skip
    stacks = {"k8s_app_web-7f_shop_0123456789ab_0;web;main": 3, ";web;main": 2, "pg;db;loop": 1, "k8s_odd;db;loop": 1}
    assert list(labelled(header, stacks)) == [
        Labelled(Labels("web", "app", "web-7f", "containerd"), "web;main", 3),
        Labelled(Labels("web"), "web;main", 2),
        Labelled(Labels("db", "pg"), "db;loop", 1),
        Labelled(Labels("db", "k8s_odd"), "db;loop", 1),
    ]


def test_as_our_agent_keeps_it_the_header_alone_tells_the_container() -> None:
    header = {"format": "collapsed", "processes": [{"name": "web", "container_name": "app", "pod_name": "web-7f"}]}
    assert list(labelled(header, {"web;main": 3})) == [Labelled(Labels("web", "app", "web-7f"), "web;main", 3)]


def test_the_field_s_first_version_has_no_such_frame() -> None:
    header = {"metadata": {"run_arguments": {"profile_api_version": "v1"}}}
    assert list(labelled(header, {"web;main": 3})) == [Labelled(Labels("web"), "web;main", 3)]


def test_a_plain_file_of_anybody_is_taken_as_it_is() -> None:
    assert list(labelled({}, {"a;b": 1})) == [Labelled(Labels("a"), "a;b", 1)]
