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


def test_a_plain_file_of_anybody_is_taken_as_it_is() -> None:
    assert list(labelled({}, {"a;b": 1})) == [Labelled(Labels("a"), "a;b", 1)]
