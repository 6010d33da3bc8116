"""The engine for more than one machine holds: ClickHouse, through its own client.

A profile is one row, with a list a column for what its samples have: the table replaces rows of one key, so that a
profile that is taken in again, also by a later version that reads it differently, is there once and whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from profiles.facts import Labels
from profiles.gathering import Gathering
from profiles.questions import FIRST_MOMENT, LOST, Bucket, Merge, Place, Selection, StoredProfile

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONNECT_S: Final = 5
LONGEST_S: Final = 60
"""What one question may take."""
MEMORY_BYTES: Final = 4_000_000_000
PROFILES: Final = "studio_profiles"
STACKS: Final = "studio_stacks"
_LISTS: Final = ("process", "container", "pod", "runtime", "stack_id", "count")
"""Columns with one value for each sample."""
_TABLES: Final = (
    f"""
    CREATE TABLE IF NOT EXISTS {PROFILES} (
        tenant LowCardinality(String), service LowCardinality(String), profile_id String,
        host LowCardinality(String), started_at DateTime64(3, 'UTC'), ended_at DateTime64(3, 'UTC'),
        command_id String, request_ids Array(String), capture_id String, mode LowCardinality(String),
        frequency_hz UInt32, process Array(LowCardinality(String)), container Array(LowCardinality(String)),
        pod Array(LowCardinality(String)), runtime Array(LowCardinality(String)), stack_id Array(UInt64),
        count Array(Int64), indexed_at DateTime64(6, 'UTC')
    )
    ENGINE = ReplacingMergeTree(indexed_at) PARTITION BY toYYYYMM(started_at)
    ORDER BY (tenant, service, started_at, profile_id)
    """,
    f"""
    CREATE TABLE IF NOT EXISTS {STACKS} (
        tenant LowCardinality(String), service LowCardinality(String), stack_id UInt64, stack String,
        seen_at DateTime64(3, 'UTC')
    )
    ENGINE = ReplacingMergeTree(seen_at) ORDER BY (tenant, service, stack_id)
    """,
)
_OF_PROFILE: Final = {
    "profile_id": "profile_id IN {profile_id:Array(String)}",
    "host": "host IN {host:Array(String)}",
    "command_id": "command_id IN {command_id:Array(String)}",
    "request_id": "hasAny(request_ids, {request_id:Array(String)})",
    "capture_id": "capture_id IN {capture_id:Array(String)}",
    "mode": "mode IN {mode:Array(String)}",
}
"""Filter -> what a profile's row must fulfil."""
_OF_SAMPLE: Final = {
    name: f"{name} IN {{{name}:Array(String)}}" for name in ("process", "container", "pod", "runtime")
}  # fmt: skip
"""Filter -> what a sample must fulfil, once the lists are taken apart."""


@dataclass(frozen=True)
class _Asked:
    """A selection as SQL: the rows of profiles, their samples, and the values in both."""

    rows: str
    samples: str
    values: dict[str, Any]


class ClickHouse:
    """Profiles in two tables of a database.

    Args:
        url: `http://user:password@host:8123/database`, or https. It may hold a password, and is never told.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._connecting = Lock()

    def __repr__(self) -> str:
        return type(self).__name__

    def add(self, gathering: Gathering) -> None:
        """Store profiles, the texts first: samples without texts would be seen.

        Raises:
            OSError: they cannot be stored; doing it again is safe.
        """
        if not gathering.profiles:
            return
        texts = _texts(gathering)
        rows = _rows(gathering, now=datetime.now(UTC))
        with self._connected() as client:
            client.insert(STACKS, [*texts.values()], [*texts], column_oriented=True)
            client.insert(PROFILES, [*rows.values()], [*rows], column_oriented=True)

    def merged(self, selection: Selection) -> Merge:
        """Everything selected, added up.

        Raises:
            OSError: the server does not answer, or the question asks for too much.
        """
        asked = _asked(selection)
        rows = self._rows(
            f"""
            SELECT if(texts.stack = '', {{lost:String}}, texts.stack) AS text, sum(counted.samples)
            FROM (SELECT stack_id, sum(toInt128(count)) AS samples FROM ({asked.samples}) GROUP BY stack_id) AS counted
            LEFT JOIN (
                SELECT stack_id, any(stack) AS stack FROM {STACKS}
                WHERE tenant = {{tenant:String}} AND service = {{service:String}}
                  AND stack_id IN (SELECT arrayJoin(stack_id) FROM {PROFILES} WHERE {asked.rows})
                GROUP BY stack_id
            ) AS texts ON counted.stack_id = texts.stack_id
            GROUP BY text
            """,  # noqa: S608 - made of the constants above; what callers say is bound
            {**asked.values, "lost": LOST},
        )
        of_which = self._rows(
            f"""
            SELECT uniqExact(profile_id), uniqExact(host), min(host), groupUniqArray(mode),
                   groupUniqArray(frequency_hz), min(started_at), max(ended_at)
            FROM (SELECT DISTINCT profile_id, host, mode, frequency_hz, started_at, ended_at FROM ({asked.samples}))
            """,  # noqa: S608 - likewise
            asked.values,
        )
        return _merge({text: int(samples) for text, samples in rows}, of_which)

    def profiles(self, selection: Selection, *, after: str, most: int) -> list[StoredProfile]:
        """Up to `most` profiles, the newest first, behind the one with id `after`.

        Raises:
            OSError: the server does not answer, or the question asks for too much.
        """
        asked = _asked(selection)
        rows = self._rows(
            f"""
            SELECT profile_id, any(host), any(started_at), any(ended_at), any(command_id), any(request_ids),
                   any(capture_id), any(mode), any(frequency_hz), sum(toInt128(count))
            FROM ({asked.samples})
            WHERE {{after:String}} = '' OR profile_id < {{after:String}}
            GROUP BY profile_id ORDER BY profile_id DESC LIMIT {{most:UInt64}}
            """,  # noqa: S608 - likewise
            {**asked.values, "after": after, "most": most},
        )
        return [
            StoredProfile(
                profile_id, host, started_at, ended_at, command_id, tuple(requests), capture_id, mode, frequency_hz,
                int(samples),
            )
            for profile_id, host, started_at, ended_at, command_id, requests, capture_id, mode, frequency_hz, samples
            in rows
        ]  # fmt: skip

    def over_time(self, selection: Selection, step: timedelta) -> list[Bucket]:
        """What is selected by when its profiles began, in steps counted from 1970; those without samples are left out.

        Raises:
            OSError: the server does not answer, or the question asks for too much.
        """
        asked = _asked(selection)
        rows = self._rows(
            f"""
            SELECT intDiv(toUnixTimestamp64Milli(started_at), {{step:Int64}}) AS number, sum(toInt128(count)),
                   uniqExact(profile_id)
            FROM ({asked.samples}) GROUP BY number ORDER BY number
            """,  # noqa: S608 - likewise
            {**asked.values, "step": step // timedelta(milliseconds=1)},
        )
        return [Bucket(FIRST_MOMENT + number * step, int(samples), profiles) for number, samples, profiles in rows]

    def forget(self, place: Place) -> None:
        """Have a profile no more.

        Raises:
            OSError: the server does not answer.
        """
        self._delete(
            PROFILES, "tenant = {tenant:String} AND service = {service:String} AND profile_id = {profile_id:String}",
            {"tenant": place.tenant, "service": place.service, "profile_id": place.profile_id},
        )  # fmt: skip

    def expire(self, tenant: str, *, before: datetime) -> None:
        """Have no more of a tenant what began before a moment, and texts that were last seen then.

        Raises:
            OSError: the server does not answer.
        """
        for table, column in ((PROFILES, "started_at"), (STACKS, "seen_at")):
            old = f"tenant = {{tenant:String}} AND {column} < {{before:DateTime64(6, 'UTC')}}"
            self._delete(table, old, {"tenant": tenant, "before": before})

    def _delete(self, table: str, which: str, values: dict[str, Any]) -> None:
        """Delete rows, and wait until they are gone on this server."""
        with self._connected() as client:
            client.command(f"ALTER TABLE {table} DELETE WHERE {which} SETTINGS mutations_sync = 1", parameters=values)

    def _rows(self, query: str, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        with self._connected() as client:
            # Else moments come without their zone, and would be taken for those of this machine's.
            return client.query(query, parameters=values, tz_mode="aware").result_rows

    @contextmanager
    def _connected(self) -> Iterator["Client"]:
        # For who has this engine alone: it is an extra.
        from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415

        try:
            with self._connecting:
                if self._client is None:
                    self._client = _opened(self._url)
            yield self._client
        except ClickHouseError as error:
            raise OSError(f"the engine cannot answer: {type(error).__name__}") from error


def _texts(gathering: Gathering) -> dict[str, list[Any]]:
    """Every text once for each service that has it: column -> values."""
    texts, numbers = gathering.texts, gathering.numbers
    rows: dict[tuple[str, str, int], datetime] = {}
    for one in gathering.profiles.values():
        host, began = one.facts.host, one.facts.started_at
        for place in set(one.stacks):
            key = host.tenant, host.service, place
            rows[key] = max(began, rows.get(key, began))
    return {
        "tenant": [tenant for tenant, _, _ in rows], "service": [service for _, service, _ in rows],
        "stack_id": [numbers[place] for _, _, place in rows], "stack": [texts[place] for _, _, place in rows],
        "seen_at": [*rows.values()],
    }  # fmt: skip


def _rows(gathering: Gathering, *, now: datetime) -> dict[str, list[Any]]:
    """A row for each profile: column -> values."""
    labels, numbers = gathering.labels, gathering.numbers
    rows = [
        {
            "tenant": facts.host.tenant, "service": facts.host.service, "profile_id": facts.profile_id,
            "host": facts.host.host, "started_at": facts.started_at, "ended_at": facts.ended_at,
            "command_id": facts.command_id, "request_ids": list(facts.request_ids), "capture_id": facts.capture_id,
            "mode": facts.mode, "frequency_hz": facts.frequency_hz,
            **{name: [labels[place][at] for place in one.labels] for at, name in enumerate(Labels._fields)},
            "stack_id": [numbers[place] for place in one.stacks], "count": list(one.counts), "indexed_at": now,
        }
        for one, facts in ((one, one.facts) for one in gathering.profiles.values())
    ]  # fmt: skip
    return {name: [row[name] for row in rows] for name in rows[0]}


def _merge(stacks: Mapping[str, int], rows: Sequence[Sequence[Any]]) -> Merge:
    """What was added up, and of which profiles it is."""
    ((profiles, hosts, host, modes, frequencies, started_at, ended_at),) = rows
    if not profiles:
        return Merge(stacks)
    return Merge(stacks, profiles, hosts, host, sorted(modes), sorted(frequencies), started_at, ended_at)


def _opened(url: str) -> "Client":
    """A client that many threads may use, once the tables are there."""
    import clickhouse_connect  # noqa: PLC0415 - as above

    settings = {"max_execution_time": LONGEST_S, "max_memory_usage": MEMORY_BYTES}
    client = clickhouse_connect.get_client(
        dsn=url, connect_timeout=CONNECT_S, send_receive_timeout=LONGEST_S + CONNECT_S, settings=settings,
        autogenerate_session_id=False,  # a session takes one question at a time
    )  # fmt: skip
    for table in _TABLES:
        client.command(table)
    return client


def _asked(selection: Selection) -> _Asked:
    """A selection as SQL."""
    rows = ["tenant = {tenant:String}", "service = {service:String}"]
    rows += ["started_at >= {start:DateTime64(6, 'UTC')}", "started_at < {end:DateTime64(6, 'UTC')}"]
    rows += [_OF_PROFILE[name] for name in selection.where if name in _OF_PROFILE]
    samples = [_OF_SAMPLE[name] for name in selection.where if name in _OF_SAMPLE]
    values = {
        "tenant": selection.tenant, "service": selection.service, "start": selection.start, "end": selection.end,
        **{name: list(wanted) for name, wanted in selection.where.items()},
    }  # fmt: skip
    conditions = " AND ".join(rows)
    taken_apart = f"SELECT * FROM {PROFILES} FINAL ARRAY JOIN {', '.join(_LISTS)} WHERE {conditions}"  # noqa: S608
    if samples:
        taken_apart += f" AND {' AND '.join(samples)}"
    return _Asked(conditions, taken_apart, values)
