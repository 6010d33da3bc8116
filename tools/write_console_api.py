"""Write `console/openapi.json`: of the API's OpenAPI document what the page calls; its types are made from that.

    .venv/bin/python tools/write_console_api.py

A test holds the file to this.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from api.app import create_app  # noqa: E402 - it lies in the folder above
from api.settings import ApiSettings  # noqa: E402 - likewise
from broker.settings import BrokerSettings  # noqa: E402 - likewise

FILE: Final = ROOT / "console" / "openapi.json"
CALLS: Final = (
    ("get", "/api/v1/tokens/self"),
    ("post", "/api/v1/session"),
    ("get", "/api/v1/session/ways"),
    ("delete", "/api/v1/session"),
    ("get", "/api/v1/hosts"),
    ("get", "/api/v1/commands"),
    ("post", "/api/metrics/profile_request"),
    ("get", "/api/metrics/profiling/workload_status"),
    ("get", "/api/v1/requests"),
    ("get", "/api/v1/requests/{request_id}"),
    ("get", "/api/v1/requests/{request_id}/hosts"),
    ("delete", "/api/v1/requests/{request_id}"),
    ("get", "/api/v1/flamegraph.json"),
    ("get", "/api/v1/flamegraph.speedscope.json"),
    ("get", "/api/v1/flamegraph/diff.json"),
    ("get", "/api/v1/flamegraph/function"),
    ("get", "/api/v1/flamegraph/functions"),
    ("get", "/api/v1/flamegraph/timeline"),
    ("get", "/api/v1/profiles"),
    ("get", "/readyz"),
    ("get", "/api/v1/roles"),
    ("get", "/api/v1/dead_letters"),
    ("post", "/api/v1/dead_letters/{letter_id}/replay"),
    ("get", "/api/v1/audit"),
    ("get", "/api/v1/audit/chain"),
    ("get", "/api/v1/schedules"),
    ("post", "/api/v1/schedules"),
    ("get", "/api/v1/schedules/{schedule_id}"),
    ("patch", "/api/v1/schedules/{schedule_id}"),
    ("delete", "/api/v1/schedules/{schedule_id}"),
    ("get", "/api/v1/tokens"),
    ("post", "/api/v1/tokens"),
    ("post", "/api/v1/tokens/{token_id}/rotate"),
    ("delete", "/api/v1/tokens/{token_id}"),
)
"""What the page calls. A call that is not here has no types, and does not compile."""


def document() -> str:
    """The file as it should be."""
    whole = create_app(ApiSettings(insecure_no_auth=True), BrokerSettings()).openapi()
    paths: dict[str, dict[str, Any]] = {}
    for method, path in CALLS:
        paths.setdefault(path, {})[method] = whole["paths"][path][method]
    schemas, waiting = {}, list(_named(paths))
    while waiting:
        name = waiting.pop()
        if name not in schemas:
            schemas[name] = whole["components"]["schemas"][name]
            waiting += _named(schemas[name])
    kept = {
        "openapi": whole["openapi"], "info": {"title": whole["info"]["title"], "version": whole["info"]["version"]},
        "paths": paths,
        "components": {**whole["components"], "schemas": dict(sorted(schemas.items()))},
    }  # fmt: skip
    return json.dumps(kept, indent=1) + "\n"


def _named(part: Any) -> Iterator[str]:
    """The schemas that a part refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for each in part.values():
            yield from _named(each)
    elif isinstance(part, list):
        for each in part:
            yield from _named(each)


if __name__ == "__main__":
    FILE.write_text(document())
