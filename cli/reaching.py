"""Which API a command speaks to, and with which token: the one place where that is decided.

What is said for one call goes before the environment, and that before the contexts of a file. A token is never an
argument, for anyone may list processes, and goes to no other server than the one that it was given for.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli import contexts, options
from cli.contexts import Context, Contexts
from cli.errors import NotRunning, Usage
from cli.state import StateDir

if TYPE_CHECKING:
    from cli.client import StudioClient

STDIN: Final = "-"
OPTIONS: Final = (
    click.option("--url", help="The API, with a token in STUDIO_TOKEN.  [env: STUDIO_URL; default: what runs here]"),
    click.option("--context", help="A server that was named by `studio context add`.  [env: STUDIO_CONTEXT]"),
    click.option("--token-file", help="A file with the token; - is stdin.", type=click.Path(dir_okay=False)),
    click.option(
        "--state-dir", type=click.Path(file_okay=False, path_type=Path),
        help="What runs on this state directory.  [env: PCS_STATE_DIR; default: ~/.local/state/performance-studio]",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Server:
    """What was said of the server for one call, by options."""

    url: str | None = None
    context: str | None = None
    token_file: str | None = None
    state_dir: Path | None = None

    @property
    def state(self) -> StateDir | None:
        """The state directory of a system on this machine, where one is meant; None for a server by its address."""
        meant = _meant(self, os.environ)
        return None if meant.url is not None else _state_of(meant)

    @property
    def local(self) -> StateDir:
        """The state directory on this machine that goes with it, also where the API is named by its address."""
        meant = _meant(self, os.environ)
        named = self.state_dir or meant.state_dir or os.environ.get("PCS_STATE_DIR") or None
        return options.chosen(Path(named) if named is not None else None)

    def client(self, *, within: float | None = None) -> "StudioClient":
        """A connection to it; `within` so many seconds each call has an answer, or none.

        Raises:
            NotRunning: nothing runs on the state directory that is meant.
            Usage: what was said names no server.
        """
        from cli.client import StudioClient  # noqa: PLC0415 - half a second that `studio token` need not take

        meant = _meant(self, os.environ)
        token = read_token(self.token_file) if self.token_file is not None else meant.token
        if meant.url is not None:
            return StudioClient(checked(meant.url), token, within=within)
        state = _state_of(meant)
        record = state.read_record() if state.is_claimed() else None
        if record is None:
            raise NotRunning(state.path)
        return StudioClient(record.url, token or state.token("admin"), within=within)


def _meant(said: Server, environment: Mapping[str, str]) -> Context:
    """Reads the file of contexts only where the flags do not say it all."""
    if said.url is not None or said.state_dir is not None:
        return choose(said, environment, Contexts())
    return choose(said, environment, contexts.read(contexts.file_of(environment)))


def choose(said: Server, environment: Mapping[str, str], known: Contexts) -> Context:
    """Flags, then the environment, then the context in use, then the state directory of this user.

    Raises:
        Usage: a context that is not known; flags that name two servers.
    """
    if sum(each is not None for each in (said.url, said.context)) > 1:
        raise Usage("--url and --context name two servers; give one of them")
    token = environment.get("STUDIO_TOKEN") or None
    if said.url is not None:
        return Context(url=said.url, token=token)
    if said.context is not None:
        return known.get(said.context)
    if said.state_dir is not None:
        return Context(state_dir=str(said.state_dir))
    return _by_environment(environment, known, token)


def _by_environment(environment: Mapping[str, str], known: Contexts, token: str | None) -> Context:
    """What is meant where no flag says it. A token of the environment goes to whatever that is."""
    if environment.get("STUDIO_URL") is not None:
        return Context(url=environment["STUDIO_URL"], token=token)
    name = environment.get("STUDIO_CONTEXT") or None
    state_dir = environment.get("PCS_STATE_DIR") or None
    if name is None and state_dir is not None:
        return Context(state_dir=state_dir, token=token)
    name = name or known.current
    found = known.get(name) if name is not None else Context()
    return replace(found, token=token) if token is not None else found


def _state_of(context: Context) -> StateDir:
    return options.chosen(Path(context.state_dir) if context.state_dir is not None else None)


def local_state(state_dir: Path | None) -> StateDir:
    """The state directory that a command works on by itself: the option's, or that of the context in use."""
    return Server(state_dir=state_dir).local


def checked(url: str) -> str:
    """An address that is one.

    Raises:
        Usage: it is none.
    """
    if not url.startswith(("http://", "https://")):
        raise Usage("--url (or STUDIO_URL) must begin with http:// or https://, as http://127.0.0.1:8000")
    return url


def read_token(file: str) -> str:
    """The token in a file, or on stdin.

    Raises:
        Usage: it cannot be read, or holds none.
    """
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text()
    except OSError as error:
        raise Usage(f"the token cannot be read from {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Usage(f"{file} holds no token") from None
    words = text.split()
    if len(words) != 1 or not words[0].isascii():
        raise Usage(f"{'stdin' if file == STDIN else file} holds no token: it is one word")
    return words[0]


def server(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which server is meant; the command gets them as one `server`."""

    @wraps(function)
    def given(*arguments: Any, **told: Any) -> Any:
        said = Server(**{name: told.pop(name) for name in ("url", "context", "token_file", "state_dir")})
        return function(*arguments, server=said, **told)

    decorated: Callable[..., Any] = given
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated
