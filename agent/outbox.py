"""Which completions the server is still to be told, and which refusals end the trying. Pure."""

from typing import Final

from agent.history import History, Stage
from protocol.completions import Completion

_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_MAY_PASS: Final = frozenset({401, 403, 407, 408, 421, 425, 429})
"""Client errors that another try may get past: a token is renewed, a limit is lifted, a proxy lets through."""


def unsent(history: History) -> list[Completion]:
    """Completions to send, in the order the commands came."""
    return [held.completion for held in history if held.stage is Stage.FINISHED and held.completion is not None]


def is_final(status: int) -> bool:
    """Whether an answer with this status means that no further try will be taken: the completion is dropped."""
    return _CLIENT_ERROR <= status < _SERVER_ERROR and status not in _MAY_PASS
