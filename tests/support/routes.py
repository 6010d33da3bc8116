"""Every route of the API: who may use it, and a good call of it. A new route needs a row in `ROUTES`, and no more.

`tests/integration/api/test_authorisation_matrix.py` tries each row with every kind of token, of its own service and
another one, of its own tenant and another one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.routes.console import PAGES
from tests.support.api import BULK, COMPLETION, HEARTBEAT, HOST_STATUS, REQUEST, SCHEDULES, TOKENS, WORKLOAD_STATUS

TELLING: Final = ("operator", "viewer", "admin")
EVERYBODY: Final = ("agent", "enrolment", "viewer", "operator", "admin")


@dataclass(frozen=True)
class Route:
    """One route: which kinds of token may use it, and what it answers to those that cover another service alone."""

    kinds: tuple[str, ...] | None
    """None: anybody, without a token."""
    status: int = 200
    to_others: tuple[int, str, str] | None = (403, "forbidden", "service_name")
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    of_the_installation: bool = False
    """Whether it tells of the system that all tenants share: then it is for an admin of every service of `default`."""


def to_other_tenants(path: str) -> tuple[int, str, str] | None:
    """What a route answers to a token of another tenant that its rule on kinds lets through.

    What a path names is not there for them; a route that names nothing serves them, on what is their own.
    """
    named = re.findall(r"\{(\w+)\}", path)
    return (404, "not_found", named[-1]) if named else None


ANOTHER_EACH_TIME: Final = "another-each-time"
"""In place of a value of which each call needs another one."""
OTHER_SERVICE: Final = (403, "forbidden", "service")
SOME_PROFILES: Final = {"service": "web", "start": "2026-05-04T10:00:00Z", "end": "2026-05-04T11:00:00Z"}
HIDDEN: Final = (404, "not_found", "request_id")
NO_SCHEDULE: Final = (404, "not_found", "schedule_id")
A_SCHEDULE: Final = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "request": {"service_name": "web", "target_hostnames": ["web-01"]},
}
KEY: Final = (403, "forbidden", "Authorization")
ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("POST", REQUEST): Route(
        ("operator", "admin"), body={"service_name": "web", "target_hostnames": ["web-01"]}
    ),
    ("POST", BULK): Route(
        # What is wrong with an item is that item's: another service's is refused within the answer.
        ("operator", "admin"), to_others=None, body={"requests": [{"service_name": "web", "target_hostnames": ["a"]}]}
    ),
    ("POST", HEARTBEAT): Route(
        ("agent", "admin"),
        body={"ip_address": "10.0.0.1", "hostname": ANOTHER_EACH_TIME, "service_name": "web"},
    ),
    ("POST", COMPLETION): Route(
        ("agent", "admin"), status=404,
        body={"command_id": "c-1", "hostname": ANOTHER_EACH_TIME, "service_name": "web", "status": "completed"},
    ),
    ("POST", "/api/v1/enrol"): Route(
        ("enrolment",), status=201, body={"service_name": "web", "hostname": ANOTHER_EACH_TIME}
    ),
    ("GET", "/api/v1/requests/{request_id}"): Route(TELLING, to_others=HIDDEN),
    ("GET", "/api/v1/requests/{request_id}/hosts"): Route(TELLING, to_others=HIDDEN),
    ("GET", "/api/v1/requests"): Route(TELLING, to_others=None),
    ("DELETE", "/api/v1/requests/{request_id}"): Route(("operator", "admin"), to_others=HIDDEN),
    ("POST", SCHEDULES): Route(
        ("operator", "admin"), status=201, to_others=(403, "forbidden", "request.service_name"), body=A_SCHEDULE
    ),
    ("GET", SCHEDULES): Route(TELLING, to_others=None),
    ("GET", f"{SCHEDULES}/{{schedule_id}}"): Route(TELLING, to_others=NO_SCHEDULE),
    ("PATCH", f"{SCHEDULES}/{{schedule_id}}"): Route(
        ("operator", "admin"), to_others=NO_SCHEDULE, body={"enabled": False}
    ),
    ("DELETE", f"{SCHEDULES}/{{schedule_id}}"): Route(("operator", "admin"), to_others=NO_SCHEDULE),
    # Whoever may hear it is told of the wrong place: the answer would not end otherwise.
    ("GET", "/api/v1/events"): Route(TELLING, status=422, to_others=None, query={"after": "nowhere"}),
    ("GET", "/api/v1/hosts"): Route(TELLING, to_others=None),
    ("GET", "/api/v1/commands"): Route(TELLING, to_others=None),
    ("POST", "/api/v2/profiles"): Route(
        ("agent", "admin"), to_others=OTHER_SERVICE, query={"service": "web"},
        body={"start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:01:00", "hostname": ANOTHER_EACH_TIME,
              "profile": "main;work 1"},
    ),
    ("DELETE", "/api/v1/profiles/{profile_id}"): Route(
        ("operator", "admin"), to_others=OTHER_SERVICE, query={"service": "web"}
    ),
    ("GET", "/api/v1/profiles"): Route(TELLING, to_others=OTHER_SERVICE, query=SOME_PROFILES),
    ("GET", "/api/v1/profiles/{name}"): Route(
        TELLING, to_others=OTHER_SERVICE, query={"service": "web"}
    ),
    **{
        ("GET", f"/api/v1/flamegraph{ending}"): Route(TELLING, to_others=OTHER_SERVICE, query=SOME_PROFILES)
        for ending in ("", ".json", ".col", ".html", ".pb.gz", ".speedscope.json")
    },
    **{
        ("GET", f"/api/v1/flamegraph/{what}"): Route(TELLING, to_others=OTHER_SERVICE, query=SOME_PROFILES)
        for what in ("diff", "diff.json", "diff.col", "diff.html", "functions", "timeline")
    },
    ("GET", "/api/v1/flamegraph/function"): Route(
        TELLING, to_others=OTHER_SERVICE, query={**SOME_PROFILES, "name": "main"}
    ),
    ("GET", HOST_STATUS): Route(TELLING, to_others=None),
    ("GET", WORKLOAD_STATUS): Route(TELLING, to_others=None),
    ("GET", "/api/v1/hosts/{service_name}/{hostname}"): Route(TELLING, to_others=(404, "not_found", "hostname")),
    ("DELETE", "/api/v1/hosts/{service_name}/{hostname}/owner"): Route(
        ("admin",), to_others=(404, "not_found", "hostname")
    ),
    ("POST", TOKENS): Route(("admin",), status=201, to_others=KEY, body={"kind": "viewer", "services": ["web"]}),
    ("GET", TOKENS): Route(("admin",), to_others=KEY),
    ("GET", f"{TOKENS}/self"): Route(EVERYBODY, to_others=None),
    ("GET", f"{TOKENS}/{{token_id}}"): Route(("admin",), to_others=KEY),
    ("POST", f"{TOKENS}/{{token_id}}/rotate"): Route(("admin",), to_others=KEY, body={"overlap": 60}),
    ("DELETE", f"{TOKENS}/{{token_id}}"): Route(("admin",), to_others=KEY),
    ("GET", "/api/v1/dead_letters"): Route(TELLING, to_others=None),
    ("POST", "/api/v1/dead_letters/{letter_id}/replay"): Route(
        ("operator", "admin"), to_others=(404, "not_found", "letter_id")
    ),
    ("GET", "/api/v1/roles"): Route(("admin",), to_others=KEY, of_the_installation=True),
    ("GET", "/metrics"): Route(TELLING, to_others=KEY),
    # What somebody was refused is told with the names that they gave, ours too: so of what was accepted alone.
    ("GET", "/api/v1/audit"): Route(("viewer", "admin"), to_others=None, query={"outcome": "accepted"}),
    ("GET", "/api/v1/audit/chain"): Route(("viewer", "admin"), to_others=KEY),
    ("GET", "/healthz"): Route(None),
    ("GET", "/readyz"): Route(None),
    ("GET", "/api/v1/health_check"): Route(None),
    ("POST", "/api/v1/session"): Route(TELLING, status=201, to_others=None),
    ("DELETE", "/api/v1/session"): Route(EVERYBODY, to_others=None),
    ("GET", "/api/v1/session/ways"): Route(None),
    ("GET", "/sign-in/oidc"): Route(None, status=404),  # without an issuer
    ("GET", "/sign-in/oidc/done"): Route(None, status=404),
    **{("GET", path): Route(None) for path in PAGES},
    ("GET", "/speedscope"): Route(None),
    ("GET", "/assets/{name}"): Route(None, status=404),
    ("GET", "/docs"): Route(None),
    ("GET", "/openapi.json"): Route(None),
}  # fmt: skip
