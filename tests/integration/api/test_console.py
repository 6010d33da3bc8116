"""The page as the API serves it: to anybody, with nothing from elsewhere, and without hiding a wrong path."""

from pathlib import Path

import httpx
import pytest

from api.console import BuiltPage
from broker.connection import Broker
from tests.support.api import Api
from tests.support.app import App
from tests.support.refusals import check_problem


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nope", "/api/v1/nope", "/assets/nope.js", "/assets/../app.py", "/x"]
)
def test_what_nobody_serves_stays_unknown(bare_api: Api, path: str) -> None:
    answer = bare_api.call("GET", path, token=bare_api.admin)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def built_page(folder: Path) -> BuiltPage:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>built</title>")
    (folder / "speedscope.html").write_text("<!doctype html><title>speedscope</title>")
    (folder / "assets" / "index-abc.js").write_text("console.log(1);" * 200)
    return BuiltPage.read(folder)


@pytest.mark.parametrize("path", ["/", "/requests/0f5cb2f6", "/flamegraph?service=web"])
async def test_its_addresses_are_permalinks_under_a_strict_policy(tmp_path: Path, broker: Broker, path: str) -> None:
    api = App(tmp_path / "state", broker)
    api.app.state.built_page = built_page(tmp_path / "built")
    answer = await api.http.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert {sources for name, sources in policy.items() if sources != "'none'"} == {"'self'"}


async def test_the_frame_of_speedscope_has_no_origin_and_may_call_nothing(tmp_path: Path, broker: Broker) -> None:
    api = App(tmp_path / "state", broker)
    api.app.state.built_page = built_page(tmp_path / "built")
    answer = await api.http.get("/speedscope")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("sandbox") == "allow-scripts allow-downloads"
    assert policy.pop("style-src") == "'self' 'unsafe-inline'"
    assert policy.pop("script-src") == "'self' 'wasm-unsafe-eval'"
    assert policy.pop("frame-ancestors") == "'self'"
    assert set(policy.values()) == {"'none'"}
    assert set(policy) == {"default-src", "base-uri", "form-action"}


async def test_a_file_of_the_page_is_kept_for_good_and_sent_zipped(tmp_path: Path, broker: Broker) -> None:
    api = App(tmp_path / "state", broker)
    api.app.state.built_page = built_page(tmp_path / "built")
    answer = await api.http.get("/assets/index-abc.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "console.log(1);" * 200
    plain = await api.http.get("/assets/index-abc.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    check_problem(await api.http.get("/assets/index-old.js"), code="not_found", fields=["name"])


async def test_where_it_was_not_built_it_says_what_to_run(tmp_path: Path, broker: Broker) -> None:
    api = App(tmp_path / "state", broker)
    api.app.state.built_page = BuiltPage.read(tmp_path / "nowhere")
    answer: httpx.Response = await api.http.get("/")
    assert answer.status_code == 404
    assert "python3 studio.py setup" in answer.text
    assert answer.headers["cache-control"] == "no-store"
