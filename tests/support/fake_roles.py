"""Stand-ins for the roles, to watch the supervisor with.

`python -m tests.support.fake_roles STATE_DIR NAME=RANK:SCRIPT[:PATIENCE] ...`, where SCRIPT is a key of SCRIPTS.
Each role writes what happens to it to STATE_DIR/events: `started`, once it heeds signals as it is meant to; `stopped`.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from cli.roles import Role
from cli.state import StateDir
from cli.supervisor import StopRequested, Supervisor

PRELUDE = """
import os, signal, subprocess, sys, time
def note(word):
    with open(os.environ["PCS_STATE_DIR"] + "/events", "a") as events:
        events.write(f"{sys.argv[1]} {word}\\n")
def leave(*_):
    note("stopped")
    sys.exit(0)
def sleeper(**options):
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], **options)
"""

STEADY = """
signal.signal(signal.SIGTERM, leave)
note("started")
signal.pause()
"""
SLOW_TO_STOP = """
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), leave()))
note("started")
signal.pause()
"""
DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
note("deaf")
while True:
    time.sleep(300)
"""
CRASHES = """
print("the reason is in the log")
sys.exit(7)
"""
PARENT = """
sleeper()
sleeper(start_new_session=True)
signal.signal(signal.SIGTERM, leave)
note("has children")
signal.pause()
"""
TELLS_ITS_TOKEN = """
print("token", os.environ.get("GPROFILER_TOKEN"), flush=True)
signal.pause()
"""
SCRIPTS = {
    "steady": STEADY,
    "slow_to_stop": SLOW_TO_STOP,
    "deaf": DEAF,
    "crashes": CRASHES,
    "parent": PARENT,
    "tells_its_token": TELLS_ITS_TOKEN,
}


PATIENCE_S: Final = 30.0
"""Seconds that a role is given to stop: enough for one that stops, on a machine that others keep busy."""


def fake(name: str, rank: int, script: str, *, patience: float) -> Role:
    command = (sys.executable, "-c", PRELUDE + SCRIPTS[script], name)
    return Role(name, command, stop_rank=rank, patience=timedelta(seconds=patience))


def main(folder: str, *behaviours: str) -> None:
    state = StateDir(Path(folder))
    state.make()
    roles = []
    for behaviour in behaviours:
        name, _, how = behaviour.partition("=")
        rank, script, *patience = how.split(":")
        roles.append(fake(name, int(rank), script, patience=float(patience[0]) if patience else PATIENCE_S))

    def tell(text: str) -> None:
        print(text, flush=True)

    with state.claim(), Supervisor(roles, state, url="http://127.0.0.1:1", tell=tell) as supervisor:
        tell("supervising")
        try:
            while True:
                supervisor.wait(60)
        except StopRequested as request:
            tell(f"asked to stop by {request}")
    tell("all stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
