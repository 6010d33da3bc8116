"""The engine that is always there: DuckDB over Parquet files, in memory and without a database of its own.

A DuckDB file could be opened by one process only; these files by any number.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from profiles.gathering import Gathered, Gathering
from profiles.objects import Objects
from profiles.packs import ENDING, Shelves, parsed
from profiles.questions import FIRST_MOMENT, LOST, Bucket, Merge, Place, Selection, StoredProfile
from profiles.shelves import SAMPLES, STACKS, hour_of, hours_between, place_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY: Final = "1GB"
"""What one question may take; beyond, DuckDB works on disk."""
THREADS: Final = 2
SETTINGS: Final[dict[str, Any]] = {
    "memory_limit": MEMORY, "threads": THREADS,
    "autoinstall_known_extensions": False, "autoload_known_extensions": False,  # nothing is fetched from anywhere
}  # fmt: skip
WRITERS: Final = 8
"""Hours and services that are stored at a time: a disk, and a store elsewhere, do several in the time of one."""
FIRST_TEXTS: Final = 2
"""Files that are looked into at first for the texts of stacks: that of a pack has nearly all that its hosts share."""
_File = tuple[str, str]
"""Its hour, as `place_of` gives it, and its name."""
Files = Mapping[str, _File]
"""By address."""
Answer = TypeVar("Answer")
TRIES: Final = 5
EVERYWHERE: Final = frozenset({"mode"})
"""Filters that nearly every file has samples of: which have is not looked for, as that would be a third of the work."""
COLUMNS: Final = {"request_id": "request_ids"}
"""Filter -> its column, where that has another name."""


class Embedded:
    """Profiles in Parquet files."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._shelves = Shelves(objects)

    def add(self, gathering: Gathering) -> None:
        """Store profiles, hour by hour and service by service.

        Raises:
            OSError: they cannot be stored; doing it again is safe, and stores what is not there yet.
        """
        from profiles.putting import put  # noqa: PLC0415 - for who indexes: who only asks does not load it
        from profiles.tables import Drawer  # noqa: PLC0415 - likewise

        hours: dict[str, dict[str, Gathered]] = {}
        for one in gathering.profiles.values():
            facts = one.facts
            place = place_of(facts.host.tenant, facts.host.service, hour_of(facts.profile_id))
            hours.setdefault(place, {})[facts.profile_id] = one
        drawer = Drawer(gathering)
        with ThreadPoolExecutor(WRITERS) as pool:
            stored = [
                pool.submit(put, place, profiles, drawer, objects=self._objects, shelves=self._shelves)
                for place, profiles in hours.items()
            ]
        for each in stored:
            each.result()

    def merged(self, selection: Selection) -> Merge:
        """Everything selected, added up.

        Raises:
            ValueError: it spans too much time.
            OSError: files cannot be read, or it takes too much memory.
        """
        return self._answered(
            selection, lambda files: self._merged(selection, files), is_whole=lambda found: LOST not in found.stacks
        )

    def _answered(
        self,
        selection: Selection,
        ask: Callable[[Files], Answer],
        *,
        is_whole: Callable[[Answer], bool] = lambda _found: True,
    ) -> Answer:
        """Ask the files of a selection, and again where some went that were listed: what is too old goes at once.

        Raises:
            ValueError: it spans too much time.
            OSError: files that are there cannot be read, or it takes too much memory.
        """
        files = self._files(selection)
        for _ in range(TRIES):
            before = files.keys()
            try:
                found = ask(files)
            except OSError:
                files = self._files(selection)
                if before <= files.keys():  # none of them went: asking again would help nobody
                    raise
                continue
            if is_whole(found) or before <= (files := self._files(selection)).keys():
                return found
        raise OSError("files are removed faster than they are read")

    def _merged(self, selection: Selection, files: Files) -> Merge:
        if not files:
            return Merge({})
        conditions, values = _conditions(selection)
        chosen = f"FROM read_parquet(?) WHERE {conditions}"
        with self._connected() as connection:
            added_up = f"SELECT stack_id, sum(count)::HUGEINT AS count {chosen} GROUP BY stack_id"
            connection.execute(f"CREATE TEMP TABLE counted AS {added_up}", [[*files], *values])
            of_which = connection.execute(_of_which(chosen), [[*files], *values]).fetchone()
            if selection.where.keys() <= EVERYWHERE:
                having = list(files)
            else:
                query = f"SELECT DISTINCT filename FROM read_parquet(?, filename = true) WHERE {conditions}"  # noqa: S608 - likewise
                having = [address for (address,) in connection.execute(query, [[*files], *values]).fetchall()]
            self._look_up(connection, self._texts_of([files[address] for address in having]))
            rows = connection.execute(
                "SELECT coalesce(stack, ?) AS stack, sum(count)::HUGEINT"
                " FROM counted LEFT JOIN texts USING (stack_id) GROUP BY 1",
                [LOST],
            ).fetchall()
        return _merge({stack: int(count) for stack, count in rows}, of_which)

    def forget(self, place: Place) -> None:
        """Have a profile no more; from the disk a pack that had it goes some minutes later.

        Raises:
            ValueError: this is no profile's id.
            OSError: the store does not answer.
        """
        from profiles.compacting import Compactor  # noqa: PLC0415 - tables: for who changes them

        hour = place_of(place.tenant, place.service, hour_of(place.profile_id))
        Compactor(self._objects).forget(hour, {place.profile_id})

    def expire(self, tenant: str, *, before: datetime) -> None:
        """Nothing: the files were all there was."""

    def _look_up(self, connection: "DuckDBPyConnection", files: Sequence[str]) -> None:
        """Fill `texts` for `counted`, from ever more files until none is missing: hosts share most of what they run."""
        connection.execute("CREATE TEMP TABLE texts (stack_id UBIGINT, stack VARCHAR)")
        first, many = 0, FIRST_TEXTS
        while first < len(files):
            connection.execute(
                "INSERT INTO texts SELECT stack_id, any_value(stack) FROM read_parquet(?)"
                " WHERE stack_id IN (SELECT stack_id FROM counted ANTI JOIN texts USING (stack_id)) GROUP BY stack_id",
                [files[first : first + many]],
            )
            missing = connection.execute("SELECT count(*) FROM counted ANTI JOIN texts USING (stack_id)").fetchone()
            if missing == (0,):
                return
            first, many = first + many, many * 2

    def _texts_of(self, samples: Sequence[_File]) -> list[str]:
        """The files with the texts of some files of samples; those that are lost are left out."""
        found: list[str] = []
        there = {place: set(self._objects.names(f"{STACKS}/{place}")) for place in {place for place, _ in samples}}
        for place, name in samples:
            texts = name if parsed(name) is None else self._shelves.facts(f"{SAMPLES}/{place}/{name}").stacks
            if texts in there[place]:
                found.append(self._objects.address(f"{STACKS}/{place}/{texts}"))
        return found

    def profiles(self, selection: Selection, *, after: str, most: int) -> list[StoredProfile]:
        """Up to `most` profiles, the newest first, behind the one with id `after`.

        Raises:
            ValueError: it spans too much time.
            OSError: files cannot be read, or it takes too much memory.
        """
        return self._answered(selection, lambda files: self._profiles(selection, files, after=after, most=most))

    def _profiles(self, selection: Selection, files: Files, *, after: str, most: int) -> list[StoredProfile]:
        if not files:
            return []
        conditions, values = _conditions(selection)
        query = f"""
            WITH found AS (
                SELECT profile_id, any_value(host) AS host, any_value(started_at) AS started_at,
                       any_value(ended_at) AS ended_at, any_value(command_id) AS command_id,
                       any_value(request_ids) AS request_ids, any_value(capture_id) AS capture_id,
                       any_value(mode) AS mode, any_value(frequency_hz) AS frequency_hz, sum(count)::HUGEINT AS samples
                FROM read_parquet(?) WHERE {conditions} GROUP BY profile_id
            )
            SELECT * FROM found WHERE ? = '' OR profile_id < ? ORDER BY profile_id DESC LIMIT ?
        """  # noqa: S608 - likewise
        with self._connected() as connection:
            rows = connection.execute(query, [[*files], *values, after, after, most]).fetchall()
        return [_stored(row) for row in rows]

    def over_time(self, selection: Selection, step: timedelta) -> list[Bucket]:
        """What is selected by when its profiles began, in steps counted from 1970; those without samples are left out.

        Raises:
            ValueError: it spans too much time.
            OSError: files cannot be read, or it takes too much memory.
        """
        return self._answered(selection, lambda files: self._over_time(selection, files, step))

    def _over_time(self, selection: Selection, files: Files, step: timedelta) -> list[Bucket]:
        if not files:
            return []
        conditions, values = _conditions(selection)
        query = f"""
            SELECT epoch_ms(started_at) // ? AS number, sum(count)::HUGEINT, count(DISTINCT profile_id)
            FROM read_parquet(?) WHERE {conditions} GROUP BY number ORDER BY number
        """  # noqa: S608 - likewise
        with self._connected() as connection:
            rows = connection.execute(query, [step // timedelta(milliseconds=1), [*files], *values]).fetchall()
        return [Bucket(FIRST_MOMENT + number * step, int(samples), profiles) for number, samples, profiles in rows]

    def _files(self, selection: Selection) -> dict[str, _File]:
        """The samples of every hour that is asked for, by address: each profile is in one of them.

        Listed once a question: what is packed meanwhile stays where it was listed until nobody asks there any more.
        """
        found: dict[str, _File] = {}
        for hour in hours_between(selection.start, selection.end):
            place = place_of(selection.tenant, selection.service, hour)
            shelf = self._shelves.shelf(f"{SAMPLES}/{place}", always_read=False)
            for name in (
                *(pack.name for pack in shelf.packs),
                *(f"{profile_id}{ENDING}" for profile_id in shelf.loose),
            ):
                found[self._objects.address(f"{SAMPLES}/{place}/{name}")] = (place, name)
        return found

    @contextmanager
    def _connected(self) -> Iterator["DuckDBPyConnection"]:
        import duckdb  # noqa: PLC0415 - for who asks: a process that is never asked does not load it

        connection = duckdb.connect(config=SETTINGS)
        try:
            if self._objects.folder is None:
                connection.register_filesystem(self._objects.fs)
            yield connection
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.OutOfMemoryException) as error:
            raise OSError(f"the engine cannot answer: {type(error).__name__}") from error
        finally:
            connection.close()


def _conditions(selection: Selection) -> tuple[str, Sequence[Any]]:
    """What a row must fulfil, and the values in it."""
    parts, values = ["started_at >= ?", "started_at < ?"], [selection.start, selection.end]
    bound: list[Any] = list(values)
    for name, wanted in selection.where.items():
        column = COLUMNS.get(name, name)
        parts.append(f"list_has_any({column}, ?)" if name in COLUMNS else f"{column} IN (SELECT unnest(?))")
        bound.append(list(wanted))
    return " AND ".join(parts), bound


def _of_which(chosen: str) -> str:
    """Of which profiles some samples are."""
    return f"""
        WITH found AS (
            SELECT profile_id, any_value(host) AS host, any_value(mode) AS mode,
                   any_value(frequency_hz) AS frequency_hz, any_value(started_at) AS started_at,
                   any_value(ended_at) AS ended_at
            {chosen} GROUP BY profile_id
        )
        SELECT count(*), count(DISTINCT host), min(host), list(DISTINCT mode), list(DISTINCT frequency_hz),
               min(started_at), max(ended_at)
        FROM found
    """  # noqa: S608 - likewise


def _merge(stacks: Mapping[str, int], row: Sequence[Any] | None) -> Merge:
    if row is None or row[0] == 0:
        return Merge(stacks)
    profiles, hosts, host, modes, frequencies, started_at, ended_at = row
    return Merge(
        stacks, profiles, hosts, host, sorted(modes), sorted(frequencies), started_at.astimezone(UTC),
        ended_at.astimezone(UTC),
    )  # fmt: skip


def _stored(row: Sequence[Any]) -> StoredProfile:
    profile_id, host, started_at, ended_at, command_id, requests, capture_id, mode, frequency_hz, samples = row
    return StoredProfile(
        profile_id, host, started_at.astimezone(UTC), ended_at.astimezone(UTC), command_id, tuple(requests), capture_id,
        mode, frequency_hz, int(samples),
    )  # fmt: skip
