"""`/docs`: the OpenAPI document as a page to read. It runs no script and loads nothing, from here or elsewhere.

People have their token in the same browser: a page of ours must not hand the place to whoever serves a script.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

Schema = Mapping[str, Any]

STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;"
    "vertical-align:top}code{font-family:ui-monospace,monospace}h2{border-top:1px solid #ccc;padding-top:1rem}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document: its calls with what they take and answer, then every object by its fields."""
    return "".join(_parts(document))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    yield f"</head><body><h1>{title} {escape(document['info']['version'])}</h1>"
    yield from _paragraphs(document["info"].get("description", ""))
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            yield from _call(method, path, call)
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>'
        yield from _paragraphs(schema.get("description", ""))
        yield from _fields(schema)


def _call(method: str, path: str, call: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(call.get('summary', ''))}</p>"
    yield from _paragraphs(call.get("description", ""))
    yield "" if call.get("security") else "<p>Needs no token.</p>"
    given = [
        (f"{each['name']} ({each['in']})", each.get("schema", {}), each.get("required", False), each.get("description"))
        for each in call.get("parameters", ())
    ]
    yield from _table(given)
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body, {escape(kind)}</h3>"
        yield from _fields(content["schema"])
    yield "<h3>Answers</h3><ul>"
    for status, answer in call["responses"].items():
        models = ", ".join(_told(content.get("schema", {})) for content in answer.get("content", {}).values())
        yield f"<li>{escape(str(status))}: {escape(answer['description'])} {models}</li>"
    yield "</ul>"


def _fields(schema: Schema) -> Iterator[str]:
    if "properties" not in schema:
        yield f"<p>{_told(schema)}</p>"
        return
    required = schema.get("required", ())
    rows = [(name, each, name in required, each.get("description")) for name, each in schema["properties"].items()]
    yield from _table(rows)


def _table(rows: list[tuple[str, Schema, bool, str | None]]) -> Iterator[str]:
    if not rows:
        return
    yield "<table><tr><th>field</th><th>what</th><th></th></tr>"
    for name, schema, is_required, said in rows:
        word = "required" if is_required else ""
        told = " ".join(filter(None, [word, escape(said or "")]))
        yield f"<tr><td><code>{escape(name)}</code></td><td>{_told(schema)}</td><td>{told}</td></tr>"
    yield "</table>"


def _told(schema: Schema) -> str:
    """A schema in a line, bounds and default too."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if any_of := schema.get("anyOf") or schema.get("oneOf"):
        kind = " or ".join(_told(each) for each in any_of)
    elif "enum" in schema or "const" in schema:
        kind = ", ".join(f"<code>{escape(str(each))}</code>" for each in schema.get("enum", [schema.get("const")]))
    elif "items" in schema:
        kind = f"list of {_told(schema['items'])}"
    else:
        kind = escape(str(schema.get("format") or schema.get("type", "anything")))
    bounds = [f"{name} {schema[name]}" for name in _BOUNDS if schema.get(name) is not None]
    return ", ".join([kind, *map(escape, bounds)])


_BOUNDS: Final = (
    "default", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems", "pattern",
)  # fmt: skip


def _paragraphs(text: str) -> Iterator[str]:
    return (f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())
