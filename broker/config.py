"""Where settings come from: a flag, the environment, a file, or what stands in the code, in this order."""

import argparse
import json
import os
import stat
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from broker.errors import BadConfig

FILE: Final = "PCS_CONFIG_FILE"
"""The environment variable that names the file: TOML, a setting a line, without the prefix."""
PREFIX: Final = "PCS_"
MASKED: Final = "********"
Source = Literal["flag", "environment", "file", "default"]


def file_values() -> dict[str, Any]:
    """What the file says; nothing where there is none.

    Raises:
        BadConfig: it cannot be read, is no flat TOML, or others may write to it.
    """
    name = os.environ.get(FILE)
    if not name:
        return {}
    try:
        with Path(name).open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise BadConfig(name, "others may write to it (chmod go-w)")
            values = tomllib.load(file)
    except OSError as error:
        raise BadConfig(name, error.strerror or type(error).__name__) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(name, "it is not TOML: a line reads NAME = VALUE, texts in quotes") from error
    if nested := sorted(key for key, value in values.items() if isinstance(value, (dict, list))):
        raise BadConfig(name, f"a setting has one value: {', '.join(nested)}")
    return values


class FiledSettings(BaseSettings):
    """Settings that a file may set, too."""

    def __init__(self, **given: Any) -> None:
        """Read them.

        Raises:
            BadConfig: a value is not valid. Pydantic's own error would quote it, and it may be a secret.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            reasons = "; ".join(
                f"{PREFIX}{str(fault['loc'][0]).upper()}: {_reason(fault)}" if fault["loc"] else _reason(fault)
                for fault in error.errors(include_url=False, include_input=False)
            )
            raise BadConfig("flags, environment or file", reasons) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as pydantic-settings calls it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as pydantic-settings calls it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment comes before the file. Flags are in the environment by then."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, file_values())


class Shown(NamedTuple):
    """One setting as it is shown."""

    name: str
    value: str
    source: Source
    secret: bool


def shown(classes: Iterable[type[BaseSettings]], flags: Iterable[str]) -> list[Shown]:
    """Every setting of these classes with its source, by name; secrets masked.

    Raises:
        ValueError: a value is not valid, or the file cannot be read.
    """
    from_file = file_values()
    by_flag = set(flags)
    found: dict[str, Shown] = {}
    for each in classes:
        settings = each()
        for name in each.model_fields:
            value = getattr(settings, name)
            masked = is_secret(each.model_fields[name])
            variable = f"{PREFIX}{name.upper()}"
            source: Source = (
                "flag" if variable in by_flag
                else "environment" if variable in os.environ
                else "file" if name in from_file
                else "default"
            )  # fmt: skip
            found[name] = Shown(variable, _text(value, masked=masked), source, masked)
    return [found[name] for name in sorted(found)]


def _reason(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")


def _text(value: Any, *, masked: bool) -> str:
    if value is None:
        return ""
    if masked:
        return MASKED if value.get_secret_value() else ""
    return str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that every role has for its settings."""
    parser.add_argument("--config", metavar="FILE", help=f"TOML with settings (default: {FILE})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; never a secret: anyone sees flags"
    )
    parser.add_argument("--show-config", action="store_true", help="print every setting as JSON, and where it is from")


class Flags(NamedTuple):
    """What flags have set, and what they named that is no setting of this role."""

    known: Sequence[str]
    unknown: Sequence[str]


def apply(given: argparse.Namespace, classes: Sequence[type[BaseSettings]]) -> Flags:
    """Put the flags where every setting is read, for this process and those that it starts.

    Where settings are only shown, a flag may be another role's.

    Raises:
        BadConfig: a flag is no setting, or one that must not be seen.
    """
    if given.config:
        os.environ[FILE] = given.config
    fields = {name: field for each in classes for name, field in each.model_fields.items()}
    known, unknown = [], []
    for text in given.set:
        name, _, value = text.partition("=")
        key = name.removeprefix(PREFIX).lower()
        if key not in fields:
            unknown.append(name)
        elif is_secret(fields[key]):
            raise BadConfig("--set", f"{name} is a secret, and anyone may see flags: use the environment or the file")
        else:
            known.append(f"{PREFIX}{key.upper()}")
            os.environ[known[-1]] = value
    if unknown and not given.show_config:
        raise BadConfig("--set", f"no setting: {', '.join(unknown)}")
    return Flags(known, unknown)


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting must not be shown."""
    return "SecretStr" in str(field.annotation)


def as_json(classes: Sequence[type[BaseSettings]], flags: Flags) -> str:
    """What `--show-config` prints: the settings, and what file and flags name that is none of these."""
    known = {name for each in classes for name in each.model_fields}
    rows = [row._asdict() for row in shown(classes, flags.known)]
    return json.dumps({"settings": rows, "unknown": sorted({*(set(file_values()) - known), *flags.unknown})})
