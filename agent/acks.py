"""Ids the next heartbeats name until the server has surely read them. Pure."""

from dataclasses import dataclass

from agent.history import History, Stage
from protocol.heartbeats import MAX_IDS


@dataclass(frozen=True)
class Acks:
    """What to put into `received_command_ids` and `executed_command_ids`, oldest first."""

    received: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()

    @classmethod
    def after_restart(cls, history: History) -> "Acks":
        """Everything the server may not know yet."""
        open_commands = [held for held in history if held.stage is not Stage.SETTLED]
        return cls(
            received=tuple(held.command_id for held in open_commands)[-MAX_IDS:],
            executed=tuple(held.command_id for held in open_commands if held.stage is Stage.FINISHED)[-MAX_IDS:],
        )

    def with_received(self, command_id: str) -> "Acks":
        """Name a command as held in the ledger."""
        return Acks(_with(self.received, command_id), self.executed)

    def with_executed(self, command_id: str) -> "Acks":
        """Name a command as carried out."""
        return Acks(self.received, _with(self.executed, command_id))

    def without(self, told: "Acks") -> "Acks":
        """What is left once the server has answered a heartbeat that named `told`."""
        return Acks(
            tuple(command_id for command_id in self.received if command_id not in told.received),
            tuple(command_id for command_id in self.executed if command_id not in told.executed),
        )


def _with(ids: tuple[str, ...], command_id: str) -> tuple[str, ...]:
    return ids if command_id in ids else (*ids, command_id)[-MAX_IDS:]
