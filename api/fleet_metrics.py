"""What the broker knows of the fleet, in the words of Prometheus."""

import importlib.metadata
import time
from collections.abc import Collection, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

from broker.census import Counts, Standing
from broker.roster import Instance
from protocol.names import DEFAULT_TENANT


def hear_of_the_system(tenants: Collection[str] | None) -> bool:
    """Whether whoever may hear of these tenants (None: of all) may hear of what they share, too."""
    return tenants is None or DEFAULT_TENANT in tenants


class FleetCollector:
    """One answer's metrics of the fleet; `tenants`: whose, None for everybody's; `counts`: None while it is away."""

    def __init__(self, counts: Counts | None, *, tenants: Collection[str] | None) -> None:
        self._counts = counts
        self._tenants = tenants

    def collect(self) -> Iterator[Metric]:
        """The families."""
        version = importlib.metadata.version("performance-studio")
        yield InfoMetricFamily("pcs_build", "The version that runs", {"version": version})
        counts = self._counts
        yield GaugeMetricFamily("pcs_broker_up", "Whether the broker answers", float(counts is not None))
        if counts is None:
            return
        yield self._by_tenant("pcs_hosts", "Hosts by whether they beat lately", counts.hosts)
        yield self._by_tenant("pcs_commands", "Commands without an outcome, by state", counts.commands)
        if not hear_of_the_system(self._tenants):
            return  # the rest is of all tenants together
        yield GaugeMetricFamily("pcs_dead_letters", "What was given up on and not replayed", counts.dead_letters)
        yield GaugeMetricFamily("pcs_census_seconds", "What the last look at the fleet took", counts.seconds)
        yield GaugeMetricFamily("pcs_census_age_seconds", "How old that look is", max(0.0, time.time() - counts.at))
        yield from of_roles(counts.instances, now=counts.at)

    def _by_tenant(self, name: str, help_text: str, found: Mapping[Standing, int]) -> Metric:
        family = GaugeMetricFamily(name, help_text, labels=["tenant", "state"])
        for (tenant, state), count in sorted(found.items()):
            if self._tenants is None or tenant in self._tenants:
                family.add_metric([tenant, state], count)
        return family


def of_roles(instances: Collection[Instance], *, now: float) -> Iterator[Metric]:
    """Each role over its instances: how many are at work, how far it is behind, since when."""
    at_work = GaugeMetricFamily("pcs_role_instances", "Instances that made a pass lately", labels=["role"])
    age = GaugeMetricFamily("pcs_role_last_pass_age_seconds", "Since the last pass of any instance", labels=["role"])
    behind = GaugeMetricFamily("pcs_role_behind", "Entries that a role has not done", labels=["role"])
    oldest = GaugeMetricFamily("pcs_role_oldest_seconds", "Since when the oldest of them waits", labels=["role"])
    speed = GaugeMetricFamily("pcs_role_items_per_second", "What it works off, over the last minute", labels=["role"])
    by_role: dict[str, list[Instance]] = {}
    for instance in instances:
        by_role.setdefault(instance.role, []).append(instance)
    for role, of_role in sorted(by_role.items()):
        present = [each for each in of_role if each.is_present(now=now)]
        at_work.add_metric([role], len(present))
        age.add_metric([role], max(0.0, now - max(each.passed_at for each in of_role)))
        # Each instance measures the lag of the whole group: the latest word counts, and the sum of the speeds.
        for family, name, over in ((behind, "behind", max), (oldest, "oldest_seconds", max), (speed, _SPEED, sum)):
            told = [float(each.facts[name]) for each in present if name in each.facts]
            if told:
                family.add_metric([role], over(told))
    yield from (at_work, age, behind, oldest, speed)


_SPEED = "items_per_second"
