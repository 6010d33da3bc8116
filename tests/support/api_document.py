"""Holding a client against the OpenAPI document of the API: what it sends, and what it reads from answers."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jsonschema_rs import validator_for
from pydantic import BaseModel

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
NUMBERS: Final[Mapping[str, Any]] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
TEXTS: Final = {
    "date-time": "2026-05-04T00:00:00Z", "uuid": "4803bfe1-bdc7-4c29-8290-99e5252d9cd5", "date": "2026-05-04",
}  # fmt: skip
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One call as a client made it, and the models by which it read the answer and would have read a refusal."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    reads: type[BaseModel]


class ApiDocument:
    """An OpenAPI document, to be asked what it says of a call."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """The path as the document declares it, and what it says of the call; None where it has no such call.

        A path without parts to fill in comes before one with them, as the router has it.
        """
        for declared in sorted(self._document["paths"], key=lambda each: each.count("{")):
            pattern = re.sub(r"\{[^}]+\}", "[^/]+", declared)
            if re.fullmatch(pattern, path) and method.lower() in self._document["paths"][declared]:
                return declared, self._document["paths"][declared][method.lower()]
        return None

    def answer(self, method: str, path: str, *, full: bool) -> tuple[int, Any]:
        """Status and body of an answer that the document promises; `full`: with what may be null, too.

        Raises:
            LookupError: it has no such call.
        """
        found = self.operation(method, path)
        if found is None:
            raise LookupError(f"{method} {path}")
        status, schema = next(self._good_answers(found[1]))
        return int(status), self._example(schema, full=full)

    def faults(self, call: Call, *, refusal: type[BaseModel]) -> Iterator[str]:
        """What a client does that the document does not have: each a sentence."""
        found = self.operation(call.method, call.path)
        if found is None:
            yield f"no call {call.method} {call.path}"
            return
        declared, operation = found
        where = f"{call.method} {declared}"
        known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        yield from (f"{where}: no query parameter {name}" for name in sorted(set(call.query) - known))
        if call.body is not None:
            schema = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
            yield from (f"{where}: {fault}" for fault in self._faults_of_body(schema, call.body))
        for status, schema in self._good_answers(operation):
            reads = _schema_of(call.reads)
            told = [f"{where}: {status}: {fault}" for fault in self._unread(reads, reads, schema, "answer")]
            yield from told
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get(PROBLEM, {}).get("schema")
            if schema is not None:
                reads = _schema_of(refusal)
                yield from (f"{where}: {status}: {fault}" for fault in self._unread(reads, reads, schema, "problem"))

    def _good_answers(self, operation: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
        """Statuses and schemas of the answers that are no refusals."""
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get(JSON, {}).get("schema")
            if schema is not None and PROBLEM not in answer["content"]:
                yield status, schema

    # --- bodies -------------------------------------------------------------------------------------------------------

    def _faults_of_body(self, schema: Schema | None, body: Any) -> Iterator[str]:
        if schema is None:
            yield "takes no body"
            return
        yield from self._unknown_fields(schema, body, "body")
        whole = {**schema, "components": self._document["components"]}
        for error in validator_for(whole).iter_errors(body):
            yield f"body: {error.message}"

    def _unknown_fields(self, schema: Schema, value: Any, at: str) -> Iterator[str]:
        """Fields of a value that no alternative of its schema declares."""
        choices = [each for each in self._alternatives(schema) if "properties" in each]
        if not isinstance(value, Mapping) or not choices:
            return
        for name, inner in value.items():
            known = [each["properties"][name] for each in choices if name in each["properties"]]
            if not known:
                yield f"no field {at}.{name}"
            else:
                yield from self._unknown_fields(known[0], inner, f"{at}.{name}")

    # --- answers ------------------------------------------------------------------------------------------------------

    def _unread(self, root: Schema, reads: Schema, told: Schema, at: str) -> list[str]:
        """What a reader wants of a value that the document does not promise."""
        choices = self._alternatives(told)
        if at == "answer" and len(choices) > 1:  # which of them comes depends on what was asked
            found = [self._unread(root, reads, each, at) for each in choices]
            return _fewest(found)
        faults = []
        for choice in choices:
            tried = [self._unlike(root, each, choice, at) for each in _alternatives_in(root, "#/$defs/", reads)]
            faults += _fewest(tried)
        return faults

    def _unlike(self, root: Schema, reads: Schema, told: Schema, at: str) -> list[str]:
        wanted, has = _kind_of(reads), _kind_of(told)
        if wanted is None:
            return []
        if has != wanted and (wanted, has) != ("number", "integer"):
            return [f"{at} is {has}, not {wanted}"]
        if "enum" in reads and not set(told.get("enum", ["anything"])) <= set(reads["enum"]):
            return [f"{at} may be something else than {reads['enum']}"]
        if reads.get("format") in TEXTS and reads["format"] != told.get("format"):
            return [f"{at} is no {reads['format']}"]
        if wanted == "array":
            return self._unread(root, reads.get("items", {}), told.get("items", {}), f"{at}[]")
        return self._unlike_objects(root, reads, told, at) if wanted == "object" else []

    def _unlike_objects(self, root: Schema, reads: Schema, told: Schema, at: str) -> list[str]:
        faults = []
        properties = told.get("properties", {})
        for name, schema in reads.get("properties", {}).items():
            if name not in properties:
                faults.append(f"no field {at}.{name}")
                continue
            if name in reads.get("required", ()) and name not in told.get("required", ()):
                faults.append(f"{at}.{name} may be left out")
            faults += self._unread(root, schema, properties[name], f"{at}.{name}")
        inner = reads.get("additionalProperties")
        if isinstance(inner, Mapping) and isinstance(told.get("additionalProperties"), Mapping):
            faults += self._unread(root, inner, told["additionalProperties"], f"{at}.*")
        return faults

    # --- schemas ------------------------------------------------------------------------------------------------------

    def _alternatives(self, schema: Schema) -> list[Schema]:
        return _alternatives_in(self._document["components"]["schemas"], "#/components/schemas/", schema)

    def _example(self, schema: Schema, *, full: bool) -> Any:
        choices = self._alternatives(schema)
        nulls = [each for each in choices if each.get("type") == "null"]
        chosen = choices[0] if full or not nulls else nulls[0]
        if "enum" in chosen or "const" in chosen:
            return chosen.get("enum", [chosen.get("const")])[0]
        match _kind_of(chosen):
            case "array":
                return [self._example(chosen["items"], full=full)] if full else []
            case "object":
                fields = chosen.get("properties", {})
                return {name: self._example(each, full=full) for name, each in fields.items()}
            case "string":
                return TEXTS.get(chosen.get("format", ""), "x" * chosen.get("minLength", 1))
            case kind:
                return NUMBERS[kind or "null"]


def _fewest(found: Sequence[list[str]]) -> list[str]:
    """The faults of the alternative that fits best."""
    return min(found, key=len)


@lru_cache
def _schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _kind_of(schema: Schema) -> str | None:
    if "type" in schema:
        return str(schema["type"])
    known = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return "string" if known and all(isinstance(each, str) for each in known) else None


def _alternatives_in(definitions: Schema, prefix: str, schema: Schema) -> list[Schema]:
    """A schema with its references followed and its alternatives laid out."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(prefix)
        return _alternatives_in(definitions, prefix, definitions.get("$defs", definitions)[name])
    choices: Sequence[Schema] = schema.get("anyOf", schema.get("oneOf", ()))
    if not choices:
        return [schema]
    return [each for choice in choices for each in _alternatives_in(definitions, prefix, choice)]


def without(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A document in which one thing has another name than it had."""
    changed: dict[str, Any] = json.loads(json.dumps(document))
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[f"{path[-1]}_renamed"] = part.pop(path[-1])
    return changed
