"""The public REST API, typed: a method for each call that a command makes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from cli.answers import (
    Cancelled,
    CommandPage,
    CommandRow,
    DeadLetter,
    DeadLetterPage,
    HostPage,
    HostProgress,
    HostRow,
    HostShown,
    HostsOfRequest,
    Readiness,
    Replayed,
    RequestPage,
    RequestProgress,
    RequestRow,
    WorkerList,
    WorkerRow,
)
from cli.calls import Calls, Query
from cli.profile_answers import (
    DeletedProfile,
    Difference,
    FlameGraph,
    FunctionCalls,
    FunctionTable,
    ProfilePage,
    ProfileRow,
    Timeline,
)
from protocol.audit import AuditPage, ChainPage
from protocol.requests import ProfileRequest, RequestAccepted
from protocol.schedules import SchedulePage, SchedulePlan, ScheduleRow, ScheduleStored, ScheduleView
from protocol.tokens import NewToken, TokenPage, TokenView

REQUESTS: Final = "/api/v1/requests"
LETTERS: Final = "/api/v1/dead_letters"
FLAME_GRAPH: Final = "/api/v1/flamegraph"
SCHEDULES: Final = "/api/v1/schedules"
TOKENS: Final = "/api/v1/tokens"
NOTHING: Final[Query] = {}
MOST_HOSTS_TOLD: Final = 1_000
MOST_HOSTS_AT_ONCE: Final = 10_000


class StudioClient(Calls):
    """A connection to one API, with a method for each call. What they raise: see `Calls`."""

    def readiness(self) -> Readiness:
        """What the API says of itself; it says so with 503 too."""
        answer = self._send("GET", "/readyz")
        return self._read(answer, Readiness) if answer.status_code in {200, 503} else self._fail(answer)

    def workers(self) -> list[WorkerRow]:
        """Every instance of every worker role that was at work within the last hour."""
        return self._get("/api/v1/roles", WorkerList, {}).items

    def hosts(self, query: Query = NOTHING) -> list[HostRow]:
        """Every host that is asked for, page after page."""
        return [row for page in self._pages("/api/v1/hosts", HostPage, query) for row in page.items]

    def some_hosts(self, query: Query) -> list[HostRow]:
        """The first page of them."""
        return self._get("/api/v1/hosts", HostPage, query).items

    def host(self, service: str, hostname: str) -> HostShown:
        """One host: its command, and those that have ended."""
        return self._get(f"/api/v1/hosts/{quote(service, safe='')}/{quote(hostname, safe='')}", HostShown, {})

    def commands(self, query: Query = NOTHING) -> Iterator[CommandRow]:
        """What hosts are to do, page after page as they are asked for."""
        for page in self._pages("/api/v1/commands", CommandPage, query):
            yield from page.items

    def submit(self, request: ProfileRequest) -> RequestAccepted:
        """Ask for a profile, or for the end of one."""
        body = request.model_dump(mode="json", exclude_unset=True)
        answer = self._send("POST", "/api/metrics/profile_request", json=body)
        return self._read(answer, RequestAccepted) if answer.is_success else self._fail(answer)

    def ask(self, body: dict[str, Any], key: str) -> RequestAccepted:
        """Submit a body as it is, for the API to judge. The same key and body again get the first answer."""
        return self._act(
            "POST", "/api/metrics/profile_request", RequestAccepted, json=body, headers={"Idempotency-Key": key}
        )

    def request(self, request_id: UUID | str, *, hosts: int = MOST_HOSTS_TOLD) -> RequestProgress:
        """How far a request has come, on so many of its hosts one by one."""
        return self._get(f"{REQUESTS}/{quote(str(request_id), safe='')}", RequestProgress, {"limit": str(hosts)})

    def hosts_of(self, request_id: str, *, states: Sequence[str] = ()) -> Iterator[HostProgress]:
        """Every host of a request, or each that stands so, page after page as they are asked for."""
        query: dict[str, str | list[str]] = {"limit": str(MOST_HOSTS_AT_ONCE)}
        if states:
            query["status"] = list(states)
        for page in self._pages(f"{REQUESTS}/{quote(request_id, safe='')}/hosts", HostsOfRequest, query):
            yield from page.items

    def requests(self, query: Query = NOTHING) -> Iterator[RequestRow]:
        """Requests, the newest first, page after page as they are asked for."""
        for page in self._pages(REQUESTS, RequestPage, query):
            yield from page.items

    def cancel(self, request_id: str) -> Cancelled:
        """Withdraw a request from all its hosts."""
        return self._act("DELETE", f"{REQUESTS}/{quote(request_id, safe='')}", Cancelled)

    def dead_letters(self, query: Query = NOTHING) -> list[DeadLetter]:
        """Everything that was given up on, page after page."""
        return [row for page in self._pages(LETTERS, DeadLetterPage, query) for row in page.items]

    def replay(self, letter_id: str) -> Replayed:
        """Try what was given up on anew, once."""
        return self._act("POST", f"{LETTERS}/{quote(letter_id, safe='')}/replay", Replayed)

    def schedules(self) -> list[ScheduleRow]:
        """Every schedule, page after page."""
        rows: list[ScheduleRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(SCHEDULES, SchedulePage, {"cursor": cursor})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def schedule(self, schedule_id: str) -> ScheduleView:
        """A schedule and its last firings."""
        return self._get(f"{SCHEDULES}/{quote(schedule_id, safe='')}", ScheduleView, {})

    def make_schedule(self, body: dict[str, Any]) -> ScheduleStored | SchedulePlan:
        """Have a request submitted by the clock; the API judges the body."""
        answer = self._send("POST", SCHEDULES, json=body)
        return self._read(answer, _plan_or_schedule(body)) if answer.is_success else self._fail(answer)

    def change_schedule(self, schedule_id: str, body: dict[str, Any]) -> ScheduleStored | SchedulePlan:
        """Change the fields that are given."""
        answer = self._send("PATCH", f"{SCHEDULES}/{quote(schedule_id, safe='')}", json=body)
        return self._read(answer, _plan_or_schedule(body)) if answer.is_success else self._fail(answer)

    def delete_schedule(self, schedule_id: str) -> ScheduleView:
        """Delete a schedule; gives what it was."""
        answer = self._send("DELETE", f"{SCHEDULES}/{quote(schedule_id, safe='')}")
        return self._read(answer, ScheduleView) if answer.is_success else self._fail(answer)

    def profiles(self, selection: dict[str, str | list[str]]) -> list[ProfileRow]:
        """Every stored profile of a selection, page after page."""
        rows: list[ProfileRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get("/api/v1/profiles", ProfilePage, {**selection, "cursor": cursor, "limit": "1000"})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def flame_graph_file(self, selection: Query, ending: str) -> bytes:
        """What a selection of profiles comes to, merged, as a file of the format that its ending says."""
        return self._file(f"{FLAME_GRAPH}{ending}", selection)

    def delete_profile(self, profile_id: str, service: str) -> DeletedProfile:
        """Delete a profile for good."""
        answer = self._send("DELETE", f"/api/v1/profiles/{quote(profile_id, safe='')}", params={"service": service})
        return self._read(answer, DeletedProfile) if answer.is_success else self._fail(answer)

    def profile(self, profile_id: str, service: str) -> FlameGraph:
        """One stored profile as a tree."""
        return self._get(f"/api/v1/profiles/{quote(profile_id, safe='')}", FlameGraph, {"service": service})

    def flame_graph(self, selection: Query, *, most_nodes: int | None = None) -> FlameGraph:
        """Everything in a selection, merged; of very many nodes the lightest are left out."""
        return self._get(FLAME_GRAPH, FlameGraph, {**selection, **_said(most_nodes=most_nodes)})

    def difference(self, selection: Query, base: Query, *, most_nodes: int | None = None) -> Difference:
        """A selection beside a base, which is the same but for what is said of it, as `{"start": …, "end": …}`."""
        of_base = {f"base_{name}": value for name, value in base.items()}
        return self._get(f"{FLAME_GRAPH}/diff", Difference, {**selection, **of_base, **_said(most_nodes=most_nodes)})

    def functions(
        self, selection: Query, *, sort: Literal["-self", "-total"] | None = None, limit: int | None = None
    ) -> FunctionTable:
        """The heaviest functions of a selection."""
        return self._get(f"{FLAME_GRAPH}/functions", FunctionTable, {**selection, **_said(sort=sort, limit=limit)})

    def function(self, selection: Query, name: str, *, most_nodes: int | None = None) -> FunctionCalls:
        """A function's callers and callees in a selection."""
        query = {**selection, "name": name, **_said(most_nodes=most_nodes)}
        return self._get(f"{FLAME_GRAPH}/function", FunctionCalls, query)

    def timeline(self, selection: Query, *, step: int | None = None) -> Timeline:
        """Samples of a selection over time, in steps of so many seconds."""
        return self._get(f"{FLAME_GRAPH}/timeline", Timeline, {**selection, **_said(step=step)})

    def tokens(self) -> list[TokenView]:
        """Every token of the tenant, page after page."""
        rows: list[TokenView] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get(TOKENS, TokenPage, {"cursor": cursor, "limit": "1000"})
            rows += page.items
            cursor = page.next_cursor
        return rows

    def make_token(self, body: dict[str, Any]) -> NewToken:
        """Make a token; the API judges the body."""
        answer = self._send("POST", TOKENS, json=body)
        return self._read(answer, NewToken) if answer.is_success else self._fail(answer)

    def rotate_token(self, token_id: str, body: dict[str, Any]) -> NewToken:
        """Give a token another secret; the API judges the body."""
        answer = self._send("POST", f"{TOKENS}/{quote(token_id, safe='')}/rotate", json=body)
        return self._read(answer, NewToken) if answer.is_success else self._fail(answer)

    def revoke_token(self, token_id: str) -> TokenView:
        """Make a token worthless."""
        answer = self._send("DELETE", f"{TOKENS}/{quote(token_id, safe='')}")
        return self._read(answer, TokenView) if answer.is_success else self._fail(answer)

    def whose(self, secret: str) -> TokenView:
        """The token that has this secret."""
        answer = self._send("GET", f"{TOKENS}/self", headers={"Authorization": f"Bearer {secret}"})
        return self._read(answer, TokenView) if answer.is_success else self._fail(answer)

    def audit(self, query: dict[str, str]) -> AuditPage:
        """Who did what: a page."""
        return self._get("/api/v1/audit", AuditPage, query)

    def audit_chain(self, cursor: str | None) -> ChainPage:
        """A part of the chain of audit records, the oldest first."""
        return self._get("/api/v1/audit/chain", ChainPage, {"cursor": cursor} if cursor else {})


def _plan_or_schedule(body: dict[str, Any]) -> type[ScheduleStored | SchedulePlan]:
    return SchedulePlan if body.get("dry_run") else ScheduleStored


def _said(**given: str | int | None) -> dict[str, str | list[str]]:
    """The parameters that are given."""
    return {name: str(value) for name, value in given.items() if value is not None}
