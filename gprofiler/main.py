"""The agent, run from its source: `python gprofiler/main.py`, with what `requirements.txt` names installed."""

import sys
from pathlib import Path

if __package__ in {None, ""}:  # run as a file: Python looks for packages beside it, and the agent is one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agent.cli import main
from gprofiler.resources import find_resources

if __name__ == "__main__":
    find_resources()
    main()
