"""A steady load of operators: submissions for some hosts, stops, cancels, each repeated until it is answered."""

import contextlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httpx

OPERATORS: Final = 2
PAUSE_SECONDS: Final = (0.2, 1.0)
PATIENCE_SECONDS: Final = 60.0
AWAY: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass
class Load:
    """What operators do to a fleet, and what was answered."""

    urls: Sequence[str]
    headers: Mapping[str, str]
    service: str
    hosts: Sequence[str]
    seed: int
    accepted: dict[str, list[str]] = field(default_factory=dict)
    """Request id -> the hosts it was accepted for."""
    kinds: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Calls that had to be made again: refused with 503, or never answered."""
    refused: list[str] = field(default_factory=list)
    """Answers that should not be."""
    _enough: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Until the end of the block; what is under way then is still brought to its answer."""
        operators = [threading.Thread(target=self._operate, args=(number,), daemon=True) for number in range(OPERATORS)]
        for operator in operators:
            operator.start()
        try:
            yield
        finally:
            self._enough.set()
            for operator in operators:
                operator.join(PATIENCE_SECONDS)
                assert not operator.is_alive(), "an operator was never answered"

    def _operate(self, number: int) -> None:
        dice = random.Random(f"{self.seed} operator {number}")
        mine: list[str] = []
        with httpx.Client(headers=dict(self.headers), timeout=8, trust_env=False, verify=False) as client:
            while not self._enough.wait(dice.uniform(*PAUSE_SECONDS)):
                if mine and dice.random() < 0.12:
                    self._call(client, dice, "DELETE", f"/api/v1/requests/{mine.pop(dice.randrange(len(mine)))}")
                    self.kinds["cancel"] += 1
                    continue
                kind, body = self._wish(dice)
                headers = {"Idempotency-Key": str(uuid.UUID(int=dice.getrandbits(128)))}
                answer = self._call(client, dice, "POST", "/api/metrics/profile_request", json=body, headers=headers)
                if answer is not None:
                    self.accepted[answer["request_id"]] = body["target_hostnames"]
                    self.kinds[kind] += 1
                    mine = [*mine[-9:], answer["request_id"]]

    def _wish(self, dice: random.Random) -> tuple[str, dict[str, Any]]:
        count = dice.choice((1, 1, 2, 2, 3, 3, 5, 5, 8, 8, 12, len(self.hosts)))
        body: dict[str, Any] = {
            "service_name": self.service,
            "target_hostnames": dice.sample(self.hosts, min(count, len(self.hosts))),
            "expires_in": dice.randint(8, 16),
        }
        pids = sorted(dice.sample(range(1, 9), 3))
        chance = dice.random()
        if chance < 0.08:
            return "stop of a host", body | {"command_type": "stop"}
        if chance < 0.16:
            return "stop of processes", body | {"command_type": "stop", "pids": pids}
        body |= {
            "duration": dice.randint(1, 3),
            "frequency": dice.choice((11, 50, 97)),
            "profiling_mode": dice.choice(("cpu", "cpu", "cpu", "allocation")),
            "priority": dice.choice(("low", "normal", "normal", "normal", "urgent")),
        }
        return f"{body['priority']} start", body | ({"pids": pids} if dice.random() < 0.3 else {})

    def _call(self, client: httpx.Client, dice: random.Random, method: str, path: str, **said: Any) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        first = dice.randrange(len(self.urls))
        attempts = 0
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                answer = client.request(method, self.urls[(first + attempts) % len(self.urls)] + path, **said)
                if answer.status_code == HTTPStatus.OK:
                    return answer.json()
                if answer.status_code not in AWAY:
                    self.refused.append(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
                    return None
            attempts += 1
            self.repeated += 1
            time.sleep(0.2)
        self.refused.append(f"{method} {path} was not answered within {PATIENCE_SECONDS} s")
        return None
