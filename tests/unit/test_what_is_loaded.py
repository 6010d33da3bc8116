"""What a program does not use it does not load: each start of it would pay for that, on each host."""

import subprocess
import sys

import pytest

SERVERS = {"fastapi", "starlette", "uvicorn", "redis", "rq", "pydantic_settings", "limits", "prometheus_client"}
OUTSIDE = {"httpx", "jwt", "fsspec", "tenacity"}
"""What speaks to somebody who is neither the broker nor a caller."""


def loaded_by(program: str) -> set[str]:
    """The packages that are there once a program has run so far."""
    told = f"import sys\n{program}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("program", "not_needed"),
    [
        ("from cli.main import main\nmain(['--help'], standalone_mode=False)", SERVERS | {"httpx", "pydantic"}),
        ("import agent.cli", SERVERS | {"httpx"}),
        ("import broker.embedded", {"redis", "structlog", "httpx"}),
        ("import api.__main__", SERVERS - {"pydantic_settings"} | OUTSIDE | {"structlog", "opentelemetry"}),
        ("import api.worker_processes", SERVERS - {"prometheus_client"} | OUTSIDE),
        ("import api.server", (OUTSIDE - {"fsspec"}) | {"rq", "duckdb", "pyarrow"}),
        ("import workers.__main__", OUTSIDE | {"fastapi", "uvicorn", "duckdb", "pyarrow"}),
    ],
)
def test_what_a_program_does_not_use_is_not_loaded(program: str, not_needed: set[str]) -> None:
    assert loaded_by(program) & not_needed == set()


def test_what_a_program_uses_is_seen_to_be_loaded() -> None:
    assert {"httpx", "fsspec", "tenacity"} <= loaded_by("import workers.alone")
    assert {"httpx", "jwt"} <= loaded_by("import api.people")
