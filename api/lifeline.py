"""How one API process of several hears of its parent."""

from typing import Final

LIFELINE: Final = "PCS_API_LIFELINE"
"""Tells a worker the file descriptor that says when it serves, and whose end says that its parent is gone."""
