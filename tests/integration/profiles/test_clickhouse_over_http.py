"""ClickHouse as its users have it: over HTTP, with a password, away now and then."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest

from profiles.clickhouse import LONGEST_S, ClickHouse
from tests.support.clickhouse_server import Server, clickhouse_server
from tests.support.engines import START, Shelf, clickhouse_in_this_process
from tests.support.processes import free_port


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with clickhouse_server() as running:
        yield running


def test_over_http_the_answers_are_those_of_the_engine_itself(server: Server) -> None:
    there = Shelf(ClickHouse(server.url), uuid4().hex)
    here = Shelf(clickhouse_in_this_process(), there.tenant)
    odd = "a'b\\c {host:String} & ü=1%25+?"
    first = there.add(odd, f"web;main {2**53 - 2}\nweb;späť\\n 2", request_ids=["r-1", odd])
    there.add(odd, f"web;main {2**53 - 2}\nweb;späť\\n 2", request_ids=["r-1", odd])
    there.add("b", "web;main 3\ndb;loop 1", at=START + timedelta(minutes=3))
    wanted: tuple[dict[str, list[str]], ...] = (
        {}, {"host": [odd]}, {"request_id": [odd]}, {"profile_id": [first]}, {"process": ["db", odd]},
    )  # fmt: skip
    for where in wanted:
        assert there.merged(where) == here.merged(where), where
        chosen = there.chosen(where)
        assert there.engine.profiles(chosen, after="", most=9) == here.engine.profiles(chosen, after="", most=9)
        minute = timedelta(minutes=1)
        assert there.engine.over_time(chosen, minute) == here.engine.over_time(chosen, minute)
    assert there.merged({"host": [odd]}) == {"web;main": 2**53 - 2, "web;späť\\n": 2}
    assert there.merged() == {"web;main": 2**53 + 1, "web;späť\\n": 2, "db;loop": 1}


def test_every_question_has_its_bounds(server: Server) -> None:
    Shelf(ClickHouse(server.url), uuid4().hex).merged()
    asked = server.settings[-1]
    assert int(asked["max_execution_time"]) == LONGEST_S
    assert int(asked["max_memory_usage"]) > 0


def test_many_threads_ask_at_once(server: Server) -> None:
    shelf = Shelf(ClickHouse(server.url), uuid4().hex)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: shelf.add(f"h{number}", f"main;own_{number} 1"), range(4)))
        answers = list(pool.map(lambda _: sum(shelf.merged().values()), range(4)))
    assert answers == [4] * 4


def test_a_wrong_password_is_said_without_telling_it(server: Server) -> None:
    shelf = Shelf(ClickHouse(server.url_of("hidden")), "t")
    for ask in (shelf.merged, lambda: shelf.add("a", "main 1")):
        with pytest.raises(OSError, match="the engine cannot answer") as refused:
            ask()
        assert "hidden" not in str(refused.value)


def test_a_server_that_was_away_is_asked_again(server: Server) -> None:
    assert server.url, "what chDB has in memory lives while any of these servers does"
    port = free_port()  # one of the system's choice may be an outgoing connection's by the time that it is back
    with clickhouse_server(port) as first:
        shelf = Shelf(ClickHouse(first.url), uuid4().hex)
        shelf.add("a", "main 1")
    with pytest.raises(OSError, match="the engine cannot answer"):
        shelf.merged()
    with clickhouse_server(port):
        assert shelf.merged() == {"main": 1}
