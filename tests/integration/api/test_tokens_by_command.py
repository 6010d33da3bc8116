"""`studio tokens`: a secret is printed once, on stdout and nowhere else."""

import json
import shutil
import stat
from pathlib import Path

from click.testing import CliRunner, Result

from cli.main import main
from cli.state import RunningSystem, StateDir
from tests.support.api import Api


def studio(api: Api, *arguments: str, token: str | None = None) -> Result:
    environment = {"STUDIO_URL": api.url, "STUDIO_TOKEN": token or api.admin}
    done = CliRunner().invoke(main, ["tokens", *arguments], env=environment)
    api.made_tokens += [line for line in done.stdout.splitlines() if line.startswith("pcs_")]
    return done


def knows(api: Api, secret: str) -> bool:
    return api.call("GET", "/api/v1/tokens/self", token=secret).status_code == 200


def test_a_token_from_its_making_to_its_end(bare_api: Api) -> None:
    made = studio(bare_api, "create", "operator", "--service", "shop-*", "--name", "[deploys]", "--expires-in", "90d")
    assert made.exit_code == 0, made.output
    secret = made.stdout.removesuffix("\n")
    assert knows(bare_api, secret), "stdout is the secret and no more, for $(…)"
    assert secret not in made.stderr
    token_id = bare_api.ok("GET", "/api/v1/tokens/self", token=secret)["id"]
    assert token_id in made.stderr

    listed = studio(bare_api, "list")
    row = next(line for line in listed.stdout.splitlines() if token_id in line)
    assert "[deploys]" in row
    assert "shop-*" in row
    assert secret not in listed.output

    rotated = studio(bare_api, "rotate", token_id, "--overlap", "0", "--json")
    body = json.loads(rotated.stdout)
    bare_api.made_tokens.append(body["token"])
    assert body["id"] == token_id
    assert knows(bare_api, body["token"])

    assert studio(bare_api, "revoke", token_id).stdout == f"revoked {token_id} ([deploys])\n"
    assert token_id not in studio(bare_api, "list").stdout
    assert token_id in studio(bare_api, "list", "--all").stdout
    listed_as_json = json.loads(studio(bare_api, "list", "--all", "--json").stdout)
    assert [row["revoked_at"] is not None for row in listed_as_json if row["id"] == token_id] == [True]
    bare_api.check_log()


def test_what_the_api_refuses_is_told_with_an_exit_code_of_its_own(bare_api: Api) -> None:
    unknown = studio(bare_api, "revoke", "t-1")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "404 not_found" in unknown.stderr
    no_admin = studio(bare_api, "list", token=bare_api.agent)
    assert (no_admin.exit_code, no_admin.stdout) == (3, "")
    uses = studio(bare_api, "create", "agent", "--service", "web", "--max-uses", "3")
    assert uses.exit_code == 2
    assert "\n  max_uses: " in uses.stderr


def test_what_is_no_use_is_usage(bare_api: Api) -> None:
    for arguments in (
        ("create", "root", "--service", "*"),
        ("create", "agent"),
        ("create", "agent", "--service", "*", "--expires-in", "soon"),
        ("rotate", "t-1", "--overlap", "-1"),
        ("rotate",),
    ):
        assert studio(bare_api, *arguments).exit_code == 2, arguments


def test_nobody_answers(tmp_path: Path) -> None:
    nobody = CliRunner().invoke(
        main, ["tokens", "list"], env={"STUDIO_URL": "http://127.0.0.1:9", "STUDIO_TOKEN": "pcs_secret"}
    )
    assert nobody.exit_code == 3
    assert "pcs_secret" not in nobody.output
    assert CliRunner().invoke(main, ["tokens", "list", "--state-dir", str(tmp_path)]).exit_code == 3


def test_a_first_token_that_is_rotated_is_replaced_in_its_file(bare_api: Api, tmp_path: Path) -> None:
    """On a copy of the state directory, as others use the API's own."""
    state = StateDir(tmp_path / "state")
    state.make()
    secret, token_id = bare_api.make_token("agent", "*")
    shutil.copy(bare_api.state_dir / "tokens.json", state.tokens_file)
    state.replace_token("agent", secret)
    with state.claim():
        state.write_record(RunningSystem(pid=1, born=None, url=bare_api.url))
        done = CliRunner().invoke(main, ["tokens", "rotate", token_id, "--state-dir", str(state)])
    assert done.exit_code == 0, done.output
    after = done.stdout.removesuffix("\n")
    bare_api.made_tokens.append(after)
    assert state.token("agent") == after != secret
    assert state.token("admin") == bare_api.admin
    assert stat.S_IMODE(state.tokens_file.stat().st_mode) == 0o600
    assert knows(bare_api, secret), "for the overlap"
