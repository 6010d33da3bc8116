"""The page of the API's description: complete, and without anything that runs or is loaded."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.docs_page import page
from api.settings import ApiSettings
from broker.settings import BrokerSettings


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(ApiSettings(insecure_no_auth=True), BrokerSettings())


async def asked(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere.example") as client:
        return await client.get(path)


async def test_the_page_runs_no_script_and_loads_nothing(app: FastAPI) -> None:
    answer = await asked(app, "/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"<script|<link|<img|<iframe|\ssrc=|\son\w+=|https?://|url\(", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy


async def test_the_page_tells_every_call_and_every_field(app: FastAPI) -> None:
    text = (await asked(app, "/docs")).text
    document = app.openapi()
    calls = [f"{method.upper()} {path}" for path, some in document["paths"].items() for method in some]
    fields = {name for schema in document["components"]["schemas"].values() for name in schema.get("properties", ())}
    assert [call for call in calls if f"<code>{call}</code>" not in text] == []
    assert [name for name in fields if f"<code>{name}</code>" not in text] == []
    anchors = set(re.findall(r'id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors


def test_what_the_document_says_is_text_and_no_markup() -> None:
    evil = '<script src="//x">"'
    call: dict[str, Any] = {
        "summary": evil, "description": evil, "responses": {"200": {"description": evil}},
        "parameters": [{"name": evil, "in": evil, "description": evil, "schema": {"default": evil, "type": evil}}],
        "requestBody": {"content": {evil: {"schema": {"enum": [evil]}}}},
    }  # fmt: skip
    schema = {"description": evil, "properties": {evil: {"$ref": f"#/{evil}", "description": evil}}}
    told = page({
        "info": {"title": evil, "version": evil, "description": evil},
        "paths": {evil: {evil: call}},
        "components": {"schemas": {evil: schema}},
    })  # fmt: skip
    assert "<script" not in told


@pytest.mark.parametrize("path", ["/docs/", "/api/v1/hosts/", "/healthz/", "/redoc", "/docs/oauth2-redirect"])
async def test_no_path_sends_a_caller_with_its_token_elsewhere(app: FastAPI, path: str) -> None:
    answer = await asked(app, path)
    assert (answer.status_code, answer.headers.get("location")) == (404, None)
