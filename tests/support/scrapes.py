"""Reading what an API tells Prometheus."""

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.support.api import Api

METRICS = "/metrics"


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    @property
    def names(self) -> set[str]:
        """Every series' name, as expressions use it."""
        return {sample.name for family in self.families.values() for sample in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of this name with these labels; 0 where there is none."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and _fits(sample.labels, labels)
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label of a series."""
        samples = [sample for family in self.families.values() for sample in family.samples if sample.name == name]
        return {sample.labels[label] for sample in samples if label in sample.labels}


def _fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def scrape(api: Api, token: str | None = None) -> Scrape:
    """What the API tells."""
    answer = api.call("GET", METRICS, token=token or api.admin)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)
