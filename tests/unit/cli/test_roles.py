from pathlib import Path

from cli.roles import agent_role, role_of, sample_role, server_roles
from cli.state import StateDir
from workers.__main__ import LOOPED


def make(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path)
    state.make()
    return state


def test_every_loop_of_the_workers_is_started(tmp_path: Path) -> None:
    merger = next(
        role for role in server_roles(make(tmp_path), host="h", port=1, own_broker=True) if role.name == "merger"
    )
    assert merger.command[-len(LOOPED) :] == LOOPED


def test_the_broker_is_ours_only_when_none_is_given(tmp_path: Path) -> None:
    state = make(tmp_path)
    with_broker = [role.name for role in server_roles(state, host="h", port=1, own_broker=True)]
    without = [role.name for role in server_roles(state, host="h", port=1, own_broker=False)]
    assert with_broker == ["broker", *without]


def test_the_broker_stops_last_and_the_agent_first(tmp_path: Path) -> None:
    state = make(tmp_path)
    roles = [
        *server_roles(state, host="h", port=1, own_broker=True),
        agent_role(state, url="u", service="s"),
        sample_role(),
    ]
    ranks = {role.name: role.stop_rank for role in roles}
    assert ranks["agent"] < ranks["merger"] == ranks["jobs"] < ranks["api"] < ranks["broker"]


def test_the_notifier_is_started_where_there_is_somebody_to_notify_and_the_api_expects_it_then(tmp_path: Path) -> None:
    for webhooks, expected in ((False, "archiver"), (True, "archiver,notifier")):
        roles = server_roles(make(tmp_path), host="h", port=1, own_broker=True, webhooks=webhooks)
        api = next(role for role in roles if role.name == "api")
        assert api.environment() == {"PCS_EXPECTED_ROLES": expected}
        alone = [role for role in roles if role.name in {"archiver", "notifier"}]
        assert ",".join(role.name for role in alone) == expected
        assert [role.command[3:] for role in alone] == [("workers", role.name) for role in alone]


def test_the_agent_waits_for_its_token_and_gets_it_by_environment_alone(tmp_path: Path) -> None:
    state = make(tmp_path)
    agent = agent_role(state, url="http://127.0.0.1:1", service="shop")
    assert agent.environment() is None
    state.tokens_file.write_text('{"admin": "very-secret", "agent": "secret"}')
    assert agent.environment() == {"GPROFILER_TOKEN": "secret"}
    assert "secret" not in " ".join(agent.command)
    assert "secret" not in repr(agent)


def test_the_agent_keeps_everything_in_the_state_directory(tmp_path: Path) -> None:
    command = agent_role(make(tmp_path), url="u", service="s").command
    for option in ("--output-dir", "--state-dir", "--heartbeat-log"):
        assert command[command.index(option) + 1].startswith(str(tmp_path))


def test_the_current_folder_shadows_none_of_our_packages(tmp_path: Path) -> None:
    for role in server_roles(make(tmp_path), host="h", port=1, own_broker=True):
        assert role.command[1:3] == ("-P", "-m")


def test_a_check_of_the_api_is_about_the_process_that_does_the_work() -> None:
    assert {role_of(loop) for loop in LOOPED} == {"merger"}
    assert role_of("broker") == "broker"
