from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.addresses import BadServer, read_server, sends_in_clear
from agent.credentials import BadToken, Secret, is_exposed, read_token, read_token_file, without_token
from agent.flags.server import Server
from tests.support.agents import calm


@pytest.mark.parametrize(
    ("arguments", "kept", "token"),
    [
        (["-u", "--token", "s3cret", "-c"], ["-u", "-c"], "s3cret"),
        (["--token=s3cret", "-c"], ["-c"], "s3cret"),
        (["--token="], [], ""),
        (["--token", "one", "--token=two"], [], "two"),
        (["--token"], ["--token"], None),
        (["-o", "x", "--", "--token", "y"], ["-o", "x", "--", "--token", "y"], None),
        (["--token-file", "f"], ["--token-file", "f"], None),
    ],
)
def test_a_token_is_taken_out_of_the_arguments(arguments: list[str], kept: list[str], token: str | None) -> None:
    assert without_token(arguments) == (kept, token)


@calm
@given(st.text(max_size=50))
def test_a_bad_token_is_never_quoted(text: str) -> None:
    secret = f"s3cret{text}"
    rest = text.rstrip()
    usable = rest.isascii() and rest.isprintable() and " " not in rest
    if usable:
        token = read_token(secret, source="a test")
        assert token.reveal() == secret.strip()
        assert "s3cret" not in f"{token} {token!r}"
        return
    with pytest.raises(BadToken) as refused:
        read_token(secret, source="a test")
    assert "s3cret" not in str(refused.value)


def test_a_token_file_may_end_in_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    assert read_token_file(path).reveal() == "s3cret"
    path.chmod(0o644)
    assert is_exposed(path)
    path.chmod(0o640)
    assert not is_exposed(path)


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", b"\xff\xfe"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(BadToken):
        read_token_file(path)


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadToken, match="No such file"):
        read_token_file(tmp_path / "none")


def test_settings_do_not_show_their_token() -> None:
    settings = Server(address="http://localhost", service_name="web", token=Secret("s3cret"))
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x:99999",
        "http://x?y",
        "http://[::1",
        "http://x#y",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(BadServer):
        read_server(url)


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(BadServer) as refused:
        read_server("https://me:s3cret@studio")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://studio:8000/", True),
        ("https://studio", False),
        ("http://localhost:1", False),
        ("http://[::1]:1", False),
    ],
)
def test_a_token_that_would_travel_in_clear_is_noticed(url: str, clear: bool) -> None:
    assert sends_in_clear(read_server(url)) is clear
