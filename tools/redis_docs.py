"""Write docs/redis.md and docs/asyncapi.yaml from broker/keys.py and broker/public_streams.py.

    .venv/bin/python tools/redis_docs.py
    .venv/bin/python tools/redis_docs.py --check

With `--check` nothing is written; the exit code is 1 when a page is not what it would be.
"""

import argparse
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final, NamedTuple, get_args

import yaml

from broker import keys
from broker.keys import Place
from broker.public_streams import READABLE, STREAMS, AnyEntry, PublicEntry, Stream

DOCS: Final = Path(__file__).parents[1] / "docs"
COMMAND: Final = ".venv/bin/python tools/redis_docs.py"
TYPES: Final = ("Stream", "Hash", "Sorted set", "Set", "String", "Sharded channel", "Channel", "List")
LIFE: Final = re.compile(
    r"(?:no TTL|TTL [\d.]+ \w+(?: once \w+)?|capped at [\d,]*\d|deleted when drained|gone with its last field"
    r"|trimmed after [\w ]+|[Ff]orgotten by the janitor after [\w ]+)"
)
WRITERS: Final = re.compile(r"(?:; |(?<=\. )|^)(?:[Ww]ritten by )?([^;.]+)\.$")

TEMPLATE: Final = Path(__file__).with_name("redis_page.md")


class Key(NamedTuple):
    """One builder, read."""

    name: str
    pattern: str
    kind: str
    life: str
    writers: str
    about: str


def builders() -> Iterator[Callable[..., str]]:
    """Every builder of a key, in the order they are written in."""
    found = [
        each
        for _, each in inspect.getmembers(keys, inspect.isfunction)
        if each.__module__ == keys.__name__ and inspect.signature(each).return_annotation is str
    ]
    return iter(sorted(found, key=lambda each: each.__code__.co_firstlineno))


def read(builder: Callable[..., str]) -> Key:
    """A builder's key and what its docstring says of it.

    Raises:
        ValueError: the docstring does not begin with a type.
    """
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(builder).parameters.items():
        if parameter.annotation is Place:
            given[name] = Place("p", "<host>")  # type: ignore[arg-type]  # a name in place of the number
        else:
            given[name] = "p" if name == "partition" else f"<{name}>"
    pattern = re.sub(r"[0-9a-f]{40,64}", "<digest>", builder(**given))
    text, *more = [" ".join(each.split()) for each in (inspect.getdoc(builder) or "").split("\n\n")]
    kind = next((kind for kind in TYPES if text.startswith(kind)), None)
    if kind is None:
        raise ValueError(f"the docstring of keys.{builder.__name__} must begin with one of: {', '.join(TYPES)}")
    life = ", ".join(match[0].lower().replace("ttl", "TTL") for match in LIFE.finditer(text))
    writers = WRITERS.search(text)
    about = LIFE.sub("", text.removeprefix(kind))
    if writers is not None:
        about = about[: about.rindex(writers[0])] if writers[0] in about else about
    about = re.sub(r"(?:,\s*|\s+)(?=[.,;]|$)", "", about).strip(" ,.;")
    about = re.sub(r"\.\s*\.", ".", about)
    about = ". ".join([about, *(each.rstrip(".") for each in more)])
    return Key(builder.__name__, pattern, kind.lower(), life, writers[1] if writers else "", about)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# The page -------------------------------------------------------------------------------------------------------------


def fields_of(model: type[AnyEntry]) -> list[tuple[str, str, str]]:
    """Name, whether it is always there, and meaning of each field."""
    rows = []
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        said = f"Always `{get_args(field.annotation)[0]}`. " if name == "v" else ""
        rows.append((f"`{name}`", "always" if field.is_required() else "sometimes", said + (field.description or "")))
    return rows


def kind_of(model: type[AnyEntry]) -> str | None:
    """The `kind` of its entries, on a stream of several."""
    field = model.model_fields.get("kind")
    return None if field is None else str(get_args(field.annotation)[0])


def page_of(stream: Stream) -> str:
    """A stream's section."""
    parts = [f"### {stream.name}\n", f"`{read(stream.key).pattern}`. {stream.about}\n"]
    shared = set(PublicEntry.model_fields)
    if len(stream.entries) == 1:
        (model,) = stream.entries
        parts += [table(("field", "there", "means"), fields_of(model))]
        if "state" in model.model_fields:
            states = ", ".join(f"`{state}`" for state in model.model_json_schema()["properties"]["state"]["enum"])
            parts += [f"States: {states}.\n"]
    else:
        parts += ["Every entry has `kind` and these:\n", table(("field", "there", "means"), fields_of(PublicEntry))]
        rows = []
        for model in stream.entries:
            own = [f"{name}: {text}" for name, _, text in fields_of(model) if name.strip("`") not in shared]
            rows.append((f"`{kind_of(model)}`", inspect.getdoc(model) or "", " ".join(own)))
        parts += [table(("kind", "means", "further fields"), rows)]
    return "\n".join(parts)


def markdown() -> str:
    """docs/redis.md."""
    lives = {stream.name: read(stream.key).life for stream in STREAMS}
    kept = ", ".join(f"{life.split(' after ')[1].split(' behind')[0]} (`{name}`)" for name, life in lives.items())
    rows = [
        (
            f"`{key.pattern}`",
            key.kind,
            key.life or ("none" if "channel" in key.kind else "stays"),
            key.about,
            key.writers,
            public(key),
        )
        for key in map(read, builders())
    ]
    return Template(TEMPLATE.read_text()).substitute(
        streams="\n".join(page_of(stream) for stream in STREAMS),
        kept=kept,
        keys=table(("key", "type", "life", "holds", "written by", "public"), rows).rstrip(),
    )


def public(key: Key) -> str:
    """How far others may rely on it."""
    if any(stream.key.__name__ == key.name for stream in STREAMS):
        return "**stream**"
    return "**read**" if key.name in READABLE else ""


# For programs ---------------------------------------------------------------------------------------------------------


def schema_of(model: type[AnyEntry]) -> dict[str, Any]:
    """A model as the JSON schema of a flat record of texts: what may be absent is not required, and never null."""
    schema = model.model_json_schema()
    for field in schema["properties"].values():
        for one in field.pop("anyOf", ()):
            if one != {"type": "null"}:
                field.update(one)
        field.pop("default", None)
        field.pop("title", None)
    return schema


def asyncapi() -> dict[str, Any]:
    """docs/asyncapi.yaml."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    components: dict[str, Any] = {}
    for stream in STREAMS:
        messages = {}
        for model in stream.entries:
            name = kind_of(model) or model.__name__.lower()
            components[name] = {
                "name": name, "title": model.__name__, "summary": inspect.getdoc(model), "payload": schema_of(model),
            }  # fmt: skip
            messages[name] = {"$ref": f"#/components/messages/{name}"}
        channels[stream.name] = {
            "address": read(stream.key).pattern.replace("{p}", "{partition}"),
            "title": stream.name,
            "description": f"A Redis stream. {stream.about}",
            "messages": messages,
            "parameters": {
                "partition": {
                    "description": "The partition, with its braces. How many there are is in the hash pcs:{layout}.",
                    "examples": ["{0}", "{15}"],
                }
            },
        }
        operations[f"tell_{stream.name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{stream.name}"},
            "summary": "The system appends; consumers read with a group of their own.",
            "messages": [{"$ref": f"#/channels/{stream.name}/messages/{name}"} for name in messages],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Performance Studio: public streams",
            "version": importlib.metadata.version("performance-studio"),
            "description": "What happens in the fleet and to every command, as entries of Redis streams: flat records"
            " of texts. Fields and kinds are only added; v rises when a meaning changes. Made by tools/redis_docs.py.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": components},
    }


PAGES: Final[dict[str, Callable[[], str]]] = {
    "redis.md": markdown,
    "asyncapi.yaml": lambda: yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=110),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or tell which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when a page is stale")
    given = parser.parse_args(arguments)
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not given.check:
                path.write_text(text)
    for name in stale:
        print(f"docs/{name} is stale; run {COMMAND}" if given.check else f"docs/{name} is written")
    return 1 if stale and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
