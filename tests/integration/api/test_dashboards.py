"""The dashboard and the alert rules ask for metrics that there are, in expressions that Prometheus can read."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import promql_parser
import pytest
import yaml

from tests.support.api import Api, PlayedAgent
from tests.support.processes import ROOT, eventually
from tests.support.scrapes import Scrape, scrape

DASHBOARD: Final = ROOT / "deploy" / "grafana" / "performance-studio.json"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yaml"
OUT_OF_REACH: Final = {
    ("status", "failed"),
    ("status", "401"),
    ("state", "silent"),
    ("lane", "strangers"),
    ("lane", "hosts"),
}
"""Label values that this system has not seen yet."""


class Asked(NamedTuple):
    """One expression, and where it stands."""

    where: str
    expression: str


class Selector(NamedTuple):
    """A metric that an expression asks for, with the labels that must match exactly."""

    metric: str
    labels: dict[str, str]
    names: frozenset[str]


def panels() -> list[dict[str, Any]]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return list(board["panels"])


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def every_expression() -> Iterator[Asked]:
    for panel in panels():
        for target in panel["targets"]:
            # Grafana fills in its own variables before Prometheus sees the expression.
            text = target["expr"].replace("$__rate_interval", "1m").replace("$tenant", ".*")
            yield Asked(f"panel {panel['title']}", text)
    for rule in rules():
        yield Asked(f"alert {rule['alert']}", rule["expr"])


EXPRESSIONS: Final = tuple(every_expression())


def selectors(expression: Any) -> Iterator[Selector]:
    """What a parsed expression selects, wherever it stands in it."""
    if isinstance(expression, promql_parser.VectorSelector):
        matchers = expression.matchers.matchers
        exact = {each.name: each.value for each in matchers if each.op == promql_parser.MatchOp.Equal}
        yield Selector(expression.name or "", exact, frozenset(each.name for each in matchers))
        return
    for name in ("expr", "lhs", "rhs", "param", "vector_selector", "args"):
        part = getattr(expression, name, None)
        for one in part if isinstance(part, list) else [part]:
            if one is not None:
                yield from selectors(one)


@pytest.fixture(scope="module")
def found(served: Api) -> Scrape:
    """What a system tells that has done a little of everything."""
    agent = PlayedAgent(served, "dashboard-01")
    served.submit(agent.host)
    agent.run()
    served.call("GET", "/api/v1/requests/nothing", token=served.admin)
    eventually(lambda: scrape(served).labels("pcs_hosts", "state"), within=40, what="a look at the fleet")
    return scrape(served)


@pytest.mark.parametrize("asked", EXPRESSIONS, ids=lambda asked: asked.where)
def test_an_expression_parses_and_asks_for_what_there_is(asked: Asked, found: Scrape) -> None:
    wanted = list(selectors(promql_parser.parse(asked.expression)))
    assert wanted, "it asks for nothing"
    for metric, labels, names in wanted:
        family = next((each for each in found.families.values() if metric.startswith(each.name)), None)
        assert family is not None, f"no metric is called {metric}"
        series = {sample.name for sample in family.samples} | declared(family)
        assert metric in series, f"no series is called {metric}"
        for label in names:
            assert not family.samples or found.labels(metric, label), f"{metric} has no label {label}"
        for label, value in labels.items():
            if family.samples and (label, value) not in OUT_OF_REACH:
                assert value in found.labels(metric, label), f"{metric} has no {label} {value}"


def declared(family: Any) -> set[str]:
    """The series of a family that has none yet."""
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
    return {f"{family.name}{end}" for end in ends}


def test_a_metric_that_is_not_there_would_be_noticed(found: Scrape) -> None:
    with pytest.raises(AssertionError, match="no series is called pcs_hosts_total"):
        test_an_expression_parses_and_asks_for_what_there_is(Asked("", "sum(pcs_hosts_total)"), found)
    with pytest.raises(AssertionError, match="no metric is called nothing"):
        test_an_expression_parses_and_asks_for_what_there_is(Asked("", "rate(nothing[5m]) > pcs_hosts"), found)
    with pytest.raises(AssertionError, match="pcs_hosts has no label host"):
        test_an_expression_parses_and_asks_for_what_there_is(Asked("", 'sum(pcs_hosts{host="a"})'), found)
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum(rate(pcs_hosts[5m])")


def test_every_metric_of_ours_is_told_of_in_the_docs_and_looked_at_somewhere(found: Scrape) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    everything = DASHBOARD.read_text() + ALERTS.read_text()
    for_the_curious = {"pcs_build_info", "pcs_census_seconds", "pcs_census_age_seconds"}
    ours = {name for name in found.families if name.startswith("pcs_")} - for_the_curious
    assert not [name for name in ours if name not in page]
    assert not [name for name in ours if name not in everything]


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+m", rule["for"])


def test_the_panels_have_ids_of_their_own_and_do_not_lie_over_each_other() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels())
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
