"""What convicts the server in the chaos of a fleet: a test of that test."""

from pathlib import Path

from tests.support.befallen_roles import LOG, SEED, SHARE, lines_of, told_faults
from tests.support.faults import WELL
from tests.support.fleet import HOSTS
from tests.support.fleet_journal import Journal, evidence_of, ledgers
from tests.support.havoc import FAILOVER, KILL, plan

HOST = "host-1"
COMMAND = "a-command"


def a_life(journal: Journal, *, tells: bool = True) -> None:
    """An agent is given a command and runs it; by default it tells the server of it."""
    journal.write(HOST, "offered", COMMAND, sent_at=0.0)
    journal.write(HOST, "received", COMMAND, kind="start")
    journal.write(HOST, "begun", COMMAND)
    if tells:
        journal.write(HOST, "acked", COMMAND)
    journal.write(HOST, "finished", COMMAND, status="completed")
    if tells:
        journal.write(HOST, "settled", COMMAND, code=200)


def test_a_command_begun_again_though_the_server_was_told_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    a_life(Journal(path))
    Journal(path).write(HOST, "forgot")
    assert ledgers(path) == {HOST: {}}
    a_life(Journal(path))
    evidence = evidence_of([path])
    assert evidence.begun == {(HOST, COMMAND): 2}
    assert len(evidence.twice) == 1
    assert evidence.never_told == 0


def test_a_command_begun_again_before_the_server_was_told_is_counted_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    a_life(Journal(path), tells=False)
    Journal(path).write(HOST, "forgot")
    a_life(Journal(path))
    evidence = evidence_of([path])
    assert evidence.twice == []
    assert evidence.never_told == 1


def test_the_ack_of_the_second_time_is_no_word_on_the_first(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    a_life(Journal(path), tells=False)
    Journal(path).write(HOST, "forgot")
    Journal(path).write(HOST, "received", COMMAND, kind="start")
    Journal(path).write(HOST, "acked", COMMAND)  # its beat was answered before the run had begun
    Journal(path).write(HOST, "begun", COMMAND)
    evidence = evidence_of([path])
    assert evidence.twice == []
    assert evidence.never_told == 1


def test_an_offer_to_a_beat_sent_after_the_ack_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    a_life(Journal(path))
    Journal(path).write(HOST, "offered", COMMAND, sent_at=1.0)  # sent before the ack, answered late
    assert evidence_of([path]).offered_after_the_word == []
    Journal(path).write(HOST, "offered", COMMAND, sent_at=float(2**40))
    assert len(evidence_of([path]).offered_after_the_word) == 1


def test_only_a_failover_at_that_moment_excuses_the_server(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    a_life(Journal(path))
    told_at = path.stat().st_mtime
    Journal(path).write(HOST, "offered", COMMAND, sent_at=float(2**40))
    assert len(evidence_of([path], failovers=[told_at + 0.1]).excused) == 1
    for moment in (told_at - 60, told_at + 60):
        assert len(evidence_of([path], failovers=[moment]).offered_after_the_word) == 1


def test_a_seed_plans_the_same_blows_and_everybody_has_a_turn() -> None:
    victims = ("merger", "api-1", "agents-1", "broker")
    hosts = {"agents-1": HOSTS}
    planned = plan(5, 40, victims, hosts)
    assert planned == plan(5, 40, victims, hosts)
    assert planned != plan(6, 40, victims, hosts)
    for first in range(0, 40, len(victims)):
        assert {turn.strikes[0].victim for turn in planned[first : first + len(victims)]} == {*victims}
    with_failovers = plan(5, 40, victims, hosts, failover_every=4)
    assert [number for number, turn in enumerate(with_failovers) if turn.strikes[0].victim == FAILOVER] == [
        *range(1, 40, 4)
    ]
    assert any(strike.action == KILL and strike.amnesiacs for turn in planned for strike in turn.strikes)


def test_a_seed_befalls_each_life_of_a_role_with_faults_of_its_own(tmp_path: Path) -> None:
    def lives(seed: int, name: str) -> list[list[str]]:
        env = {LOG: str(tmp_path / f"{seed}" / f"{name}.faults"), SEED: str(seed), SHARE: "0.2"}
        Path(env[LOG]).parent.mkdir(exist_ok=True)
        Path(env[LOG]).unlink(missing_ok=True)
        told = [[told.next() for _ in range(100)] for told in (told_faults(env), told_faults(env))]
        met = [verdict for life in told for verdict in life if verdict != WELL]
        assert sorted(lines_of(Path(env[LOG]))) == sorted([*met, "begun", "begun"]), "each is told in the file"
        return told

    first, second = lives(5, "merger")
    assert first != second
    assert lives(5, "merger") == [first, second]
    assert first not in (lives(5, "api-1")[0], lives(6, "merger")[0])
    assert len({*first}) == 3
