"""A profile's two tables, as pyarrow reads them back."""

import json
from datetime import UTC, datetime
from typing import Any

from profiles.gathering import gathered
from profiles.stack_ids import stack_id_of
from profiles.tables import SAMPLES_SCHEMA, tables_of
from profiles.upload import read_json

NUMBER_OF_WEB_MAIN = 4982005757060597252


def tables(profile: str, **header: Any) -> tuple[Any, Any]:
    body = {
        "hostname": "a", "start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:01:00",
        "profile": f"# {json.dumps({'format': 'collapsed', **header})}\n{profile}",
    }  # fmt: skip
    upload = read_json(json.dumps(body).encode(), tenant="t", service="s", now=datetime(2026, 5, 4, tzinfo=UTC))
    return tables_of(gathered(upload))


def test_both_tables_number_a_stack_as_it_always_was() -> None:
    samples, stacks = tables("web;main 3\nweb;späť 2\ndb 1")
    assert dict(zip(*stacks.to_pydict().values(), strict=True)) == {
        stack_id_of(stack): stack for stack in ("web;main", "web;späť", "db")
    }
    counts = dict(zip(samples["stack_id"].to_pylist(), samples["count"].to_pylist(), strict=True))
    assert counts == {stack_id_of("web;main"): 3, stack_id_of("web;späť"): 2, stack_id_of("db"): 1}
    assert stack_id_of("web;main") == NUMBER_OF_WEB_MAIN, "what is stored would not be found under its number any more"


def test_each_sample_has_the_labels_of_its_process_and_all_that_is_known_of_the_profile() -> None:
    web = {"name": "web", "container": "c", "pod": "p", "runtime": "python"}
    samples, _ = tables("web;main 3\ndb 1", processes=[web], request_ids=["r-1", "r-2"], frequency_hz=11)
    assert samples.schema.equals(SAMPLES_SCHEMA)
    rows = samples.to_pylist()
    labels = [tuple(row[name] for name in ("process", "container", "pod", "runtime")) for row in rows]
    assert labels == [("web", "c", "p", "python"), ("db", "", "", "")]
    for row in rows:
        assert (row["host"], row["mode"], row["request_ids"], row["frequency_hz"]) == ("a", "cpu", ["r-1", "r-2"], 11)
        assert row["started_at"] == datetime(2026, 5, 4, 10, tzinfo=UTC)
