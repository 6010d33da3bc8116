"""What is killed when: a plan that a seed repeats, carried out on real processes, and the story of it."""

import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.support.processes import Role, eventually

KILL: Final = "kill -9"
FREEZE: Final = "SIGSTOP"
RESTART: Final = "SIGTERM"
FAILOVER: Final = "failover"
LONGEST_FREEZE_SECONDS: Final = 7.0
AMNESIA: Final = 0.4
"""How likely agents that are killed lose some of their ledgers."""


@dataclass(frozen=True)
class Strike:
    """One blow: who, how, and for how many seconds it stays down. `amnesiacs`: whose ledger is gone afterwards."""

    victim: str
    action: str
    away: float
    amnesiacs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Round:
    """A pause in seconds, and the blows that fall together after it."""

    pause: float
    strikes: tuple[Strike, ...]


def plan(
    seed: int, rounds: int, victims: Sequence[str], hosts: Mapping[str, Sequence[str]], *, failover_every: int = 0
) -> list[Round]:
    """The rounds: everybody has a turn before anybody has a second one, and every so many rounds it is a failover's.

    `hosts`: victim -> those whose agents it is.
    """
    dice = random.Random(f"{seed} havoc")
    deck: list[str] = []
    planned = []
    for number in range(rounds):
        if not deck:
            deck = list(victims)
            dice.shuffle(deck)
        struck = [FAILOVER if failover_every and number % failover_every == 1 else deck.pop()]
        if dice.random() < 0.25:
            struck.append(dice.choice([victim for victim in victims if victim not in struck]))
        strikes = tuple(_strike(dice, victim, len(struck), hosts.get(victim, ())) for victim in struck)
        planned.append(Round(dice.uniform(0.3, 1.5), strikes))
    return planned


def _strike(dice: random.Random, victim: str, together: int, hosts: Sequence[str]) -> Strike:
    if victim == FAILOVER:
        return Strike(victim, FAILOVER, dice.uniform(0, 1.5))
    # A role that is asked to end says goodbye to the others: that waits where they are down, and is no blow of its own.
    action = dice.choice((KILL, KILL, FREEZE, RESTART) if together == 1 else (KILL, FREEZE))
    if action == FREEZE:
        return Strike(victim, action, 0.5 + (LONGEST_FREEZE_SECONDS - 0.5) * dice.random() ** 2)
    amnesiacs = tuple(dice.sample(sorted(hosts), len(hosts) // 5)) if dice.random() < AMNESIA else ()
    return Strike(victim, action, dice.uniform(0, 1.5), amnesiacs)


@dataclass
class Havoc:
    """Carries a plan out.

    `forget` takes hosts' ledgers away, `is_up` says whether a role is at work again, and `failover` kills a master and
    gives what happened.
    """

    roles: Mapping[str, Role]
    forget: Callable[[str, Sequence[str]], None]
    is_up: Callable[[str, float], bool]
    failover: Callable[[float], str] | None = None
    story: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _struck: list[tuple[str, float]] = field(default_factory=list)
    """Who may still be on the way up, and since when."""

    def wreak(self, number: int, planned: Round) -> None:
        """One round. Everybody who was struck is up again afterwards, or on the way."""
        self.wait_until_up()
        time.sleep(planned.pause)
        began = time.monotonic()
        said = []
        for strike in planned.strikes:
            if strike.action == FREEZE:
                self.roles[strike.victim].pause()
            elif strike.action == KILL:
                self.roles[strike.victim].kill()
            elif strike.action == RESTART:
                self.roles[strike.victim].stop()
        for strike in sorted(planned.strikes, key=lambda strike: strike.away):
            if strike.action == FAILOVER:
                assert self.failover is not None
                said.append(self.failover(strike.away))
                continue
            time.sleep(max(0.0, began + strike.away - time.monotonic()))
            if strike.action == FREEZE:
                self.roles[strike.victim].resume()
            else:
                if strike.amnesiacs:
                    self.forget(strike.victim, strike.amnesiacs)
                self._struck.append((strike.victim, time.time()))
                self.roles[strike.victim].restart()
            lost = f", {len(strike.amnesiacs)} ledgers lost" if strike.amnesiacs else ""
            said.append(f"{strike.action} of {strike.victim} for {time.monotonic() - began:.2f} s{lost}")
        self.story.append(f"round {number:2} at {began - self._began:6.1f} s: {'; '.join(said)}")

    def wait_until_up(self) -> None:
        """Wait for those who are on the way: a system that is always starting would show nothing."""
        while self._struck:
            victim, since = self._struck[-1]
            eventually(partial(self.is_up, victim, since), within=60, what=f"{victim} at work")
            self._struck.pop()

    def end(self) -> None:
        """Nobody stays frozen, whatever went wrong."""
        for role in self.roles.values():
            if role.process.poll() is None:
                role.process.send_signal(signal.SIGCONT)
