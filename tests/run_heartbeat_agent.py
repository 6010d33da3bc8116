"""Run the real agent against a server, and show what it does. By hand:

    python tests/run_heartbeat_agent.py --server http://localhost:8000 --token TOKEN

Then submit a request for the host and service it names. Ctrl-C ends it. This is a script, not a test.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NEEDS_A_SERVER = 3
"""Exit code when no heartbeat was ever answered."""
_PATIENCE_SECONDS = 20


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the real gprofiler agent against a Performance Studio.")
    parser.add_argument("--server", default=os.environ.get("GPROFILER_SERVER", "http://localhost:8000"), metavar="URL")
    parser.add_argument("--token", default=os.environ.get("GPROFILER_TOKEN"), help="or GPROFILER_TOKEN")
    parser.add_argument("--service-name", default="test-service", metavar="NAME")
    parser.add_argument("--hostname", default=socket.gethostname(), metavar="NAME")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="keep the profiles here")
    parser.add_argument("--interval", type=int, default=10, metavar="SECONDS", help="heartbeat interval (default 10)")
    parser.add_argument("--seconds", type=float, metavar="SECONDS", help="stop after so long (default: at Ctrl-C)")
    return parser.parse_args(arguments)


def command(given: argparse.Namespace, home: Path) -> list[str]:
    beside = Path(sys.executable).with_name("gprofiler")
    program = str(beside) if beside.exists() else shutil.which("gprofiler")
    return [
        *([program] if program else [sys.executable, "-m", "agent"]),
        "--enable-heartbeat-server", "--upload-results", "--service-name", given.service_name,
        "--hostname", given.hostname, "--api-server", given.server, "--heartbeat-interval", str(given.interval),
        "--output-dir", str(given.output_dir or home / "profiles"), "--state-dir", str(home / "state"),
        "--heartbeat-log", str(home / "heartbeat.log"), "--verbose",
    ]  # fmt: skip


class Narrator:
    """Reads the agent's log lines and tells them as a story with times."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.beats = 0
        self.ended: list[str] = []

    def follow(self, lines: Any) -> None:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                self.say(line.rstrip())
                continue
            self.tell(entry)

    def tell(self, entry: dict[str, Any]) -> None:
        event = entry.pop("event", "")
        for noise in ("timestamp", "level"):
            entry.pop(noise, None)
        if event == "beat":
            self.beats += 1
            if self.beats == 1:
                self.say("the server answers heartbeats")
            return
        if event == "nothing to do":
            return
        if event == "command ended":
            self.ended.append(f"{entry.get('command_id')}: {entry.get('status')}, {entry.get('samples')} samples")
        facts = "  ".join(f"{name}={value}" for name, value in entry.items() if value is not None)
        self.say(f"{event:<28} {facts}".rstrip())

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:8.2f} s  {text}", flush=True)


def watch(given: argparse.Namespace, home: Path) -> int:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if given.token:
        environment["GPROFILER_TOKEN"] = given.token
    narrator = Narrator()
    narrator.say(f"agent for service {given.service_name!r} on host {given.hostname!r}, server {given.server}")
    # A session of its own: Ctrl-C reaches this script, which then asks the agent to end, once.
    agent = subprocess.Popen(
        command(given, home), env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    reader = threading.Thread(target=narrator.follow, args=(agent.stderr,))
    reader.start()
    try:
        agent.wait(given.seconds)
    except subprocess.TimeoutExpired:
        narrator.say(f"{given.seconds:g} s are over")
    except KeyboardInterrupt:
        narrator.say("interrupted")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    agent.terminate()
    try:
        agent.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        agent.kill()
    reader.join()
    code = agent.wait()
    narrator.say(f"{narrator.beats} heartbeats answered, {len(narrator.ended)} commands ended")
    for ending in narrator.ended:
        narrator.say(f"  {ending}")
    if code == 0 and narrator.beats == 0:
        narrator.say("no heartbeat was answered: is the server up, and the token right?")
        return NEEDS_A_SERVER
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    with tempfile.TemporaryDirectory(prefix="heartbeat-agent-") as home:
        return watch(given, Path(home))


if __name__ == "__main__":
    sys.exit(main())
