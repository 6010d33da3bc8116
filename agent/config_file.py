"""The config file: the options of the command line, a line each, in INI or TOML.

A key is an option's long name without its dashes; `-` and `_` are the same. Sections are for the reader alone. What the
environment says wins over the file, and the command line over both.
"""

import configparser
import stat
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from agent.flags.options import Flag

DEFAULT: Final = Path("/etc/gprofiler/config.ini")
SECRETS: Final = frozenset({"token"})
NOTICES: Final = "agent.notices"
"""Where in a context's `meta` the notices are that the file gave rise to."""
_MAX_BYTES: Final = 1024 * 1024
_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH


class BadConfig(ValueError):
    """The file cannot be used; the text says why, without anything that stands in it but keys."""


def read_config(context: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Take the defaults of a command's options from the file; without a name, from `DEFAULT` where it is there.

    Raises:
        click.BadParameter: it cannot be read, or says something that is no option.
    """
    if path is None:
        if not DEFAULT.is_file():
            return None
        path = DEFAULT
    flags = [param for param in context.command.params if isinstance(param, Flag)]
    try:
        found = settings_in(path, flags)
        exposed = path.stat().st_mode & _OTHERS
    except BadConfig as error:
        raise click.BadParameter(str(error)) from None
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}") from None
    context.default_map = {**(context.default_map or {}), **found}
    if exposed & stat.S_IWOTH:
        raise click.BadParameter(f"every user of this host can write to {path}: chmod o-w {path}")
    if exposed and SECRETS & found.keys():
        notice = f"every user of this host can read the token in {path}: chmod o-r {path}"
        context.meta.setdefault(NOTICES, []).append(notice)
    return path


def settings_in(path: Path, flags: Iterable[Flag]) -> dict[str, Any]:
    """What the file says, by the options' names.

    Raises:
        BadConfig: it is neither INI nor TOML, or has keys that are no option; each is named.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise BadConfig(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise BadConfig(f"{path} is not UTF-8") from None
    said = _toml(path, decoded) if path.suffix == ".toml" else _ini(path, decoded)
    known: dict[str, Flag] = {}
    for flag in flags:
        for option in (*flag.opts, *flag.secondary_opts):
            if option.startswith("--"):
                known[_plain(option.removeprefix("--"))] = flag
    # The first word alone: after it may come what was meant as a value, and is a secret.
    unknown = sorted({key.split()[0][:40] for key in said if _plain(key) not in known or _plain(key) == "config"})
    if unknown:
        raise BadConfig(f"{path} has keys that are no option of gprofiler: {', '.join(unknown)}")
    found: dict[str, Any] = {}
    for key, value in said.items():
        flag = known[_plain(key)]
        found[str(flag.name)] = _as_given(path, flag, key, value)
    return found


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _ini(path: Path, text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None, delimiters=("=",), default_section="")
    try:
        parser.read_string(f"[gprofiler above any section]\n{text}")
    except configparser.Error as error:
        at = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", [])), (None,))[0]
        where = f"line {at - 1}" if isinstance(at, int) else "a line"
        raise BadConfig(f"{path}: {where} is not INI ({type(error).__name__})") from None
    said: dict[str, Any] = {}
    for section in parser.sections():
        for key, value in parser.items(section):
            if key in said:
                raise BadConfig(f"{path} says {key} twice")
            said[key] = True if value is None else value
    return said


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path} is not TOML: {error}") from None
    said: dict[str, Any] = {}
    for name, value in tree.items():
        for key, inner in value.items() if isinstance(value, Mapping) else ((name, value),):
            if key in said:
                raise BadConfig(f"{path} says {key} twice")
            said[key] = inner
    return said


def _as_given(path: Path, flag: Flag, key: str, value: Any) -> Any:
    """A value as click takes it from the command line."""
    if flag.multiple:
        items = value if isinstance(value, list) else str(value).split(",")
        return [str(item).strip() for item in items]
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if not flag.is_flag:
        if isinstance(value, bool | Mapping) or value is None:
            raise BadConfig(f"{path}: {key} needs a value")
        return str(value)
    on = click.BOOL.convert(value, flag, None)
    return not on if f"--{key.replace('_', '-').lower()}" in flag.secondary_opts else on
