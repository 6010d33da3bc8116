"""Saying in the OpenAPI document what a route reads and how it refuses, where the body is read by hand."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from api.at_the_door import Door
from protocol.problems import MEDIA_TYPE, Problem

WITHOUT_TOKEN: Final = frozenset({"/healthz", "/readyz", "/api/v1/health_check", "/api/v1/session/ways"})
TOO_MANY: Final = {
    "description": "Too much at once by this token in this lane; `Retry-After` says when to come again",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    "headers": {
        "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}},
        "RateLimit": {"description": "What is left (`r`), and until when (`t`, seconds)", "schema": {"type": "string"}},
        "RateLimit-Policy": {
            "description": "How much (`q`) in how many seconds (`w`), by lane", "schema": {"type": "string"},
        },
    },
}  # fmt: skip
"""Any call with a token may be refused so."""


class DocumentedApi(FastAPI):
    """An application whose OpenAPI document says where a token is needed: what is made from it can send one.

    Not by a security dependency: that would cost every heartbeat time to say what the document says once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._before: list[Callable[[ASGIApp], ASGIApp]] = []
        self.straight: frozenset[str] = frozenset()
        self.door: Door | None = None

    def put_before(self, layer: Callable[[ASGIApp], ASGIApp]) -> None:
        """Put a layer before all others, the framework's own among them: those cost a heartbeat a tenth of its time."""
        self._before.append(layer)

    def build_middleware_stack(self) -> ASGIApp:
        """The layers, from the outermost inwards."""
        app = super().build_middleware_stack()
        for layer in self._before:
            app = layer(app)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call; one of the paths `straight` goes to the layers without FastAPI's look at it before them."""
        if scope["type"] == "http" and scope["path"] in self.straight and self.middleware_stack is not None:
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The document."""
        document = super().openapi()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for body in _bodies_by_hand(document):
            for name, schema in body.pop("$defs", {}).items():
                document["components"]["schemas"].setdefault(name, schema)
        for path, calls in document["paths"].items():
            if path not in WITHOUT_TOKEN:
                for call in calls.values():
                    call["security"] = [{"token": []}]
                    call["responses"].setdefault("429", TOO_MANY)
        return document


def _bodies_by_hand(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of bodies that `json_body` has described, which bring along what they refer to."""
    for calls in document["paths"].values():
        for call in calls.values():
            for content in call.get("requestBody", {}).get("content", {}).values():
                yield content["schema"]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route."""
    return {
        status: {
            "model": Problem,
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def json_body(model: type[BaseModel], *, optional: bool = False) -> dict[str, Any]:
    """The body of a route that reads it itself; `optional`: any of its fields may be left out."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    if optional:
        schema.pop("required", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
