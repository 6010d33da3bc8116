"""What an agent says it can do."""

from agent.capabilities import capabilities
from agent.profilers.registry import installed


def test_every_profiler_is_told_with_what_it_works_or_with_why_it_does_not() -> None:
    told = capabilities(installed())
    assert told["profilers"].keys() >= {
        "perf", "py-spy", "java", "node", "rbspy", "phpspy", "dotnet-trace", "memray",
    }  # fmt: skip
    for name, one in told["profilers"].items():
        words = one["detail"] if one["available"] else one["reason"]
        assert len(words) > 3, name
    assert told["profilers"]["py-spy"]["available"], "it comes with the agent"
    assert {"cpu", "wall"} <= set(told["profiling_modes"])
