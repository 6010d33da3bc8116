"""What a command shows: progress lines, facts and a bar. On stderr when stdout is for programs."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

LINE_EVERY_S: Final = 5.0


class Screen:
    """Writes for people: a moving bar on a terminal, plain lines elsewhere."""

    def __init__(self, *, json: bool = False) -> None:
        self._out = sys.stderr if json else sys.stdout
        self._bar: Any = None
        if isinstance(self._out, io.TextIOWrapper):
            self._out.reconfigure(errors="replace")  # a terminal without our characters gets question marks

    def line(self, text: str) -> None:
        """One line, or several."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
            return
        try:
            print(text, file=self._out, flush=True)
        except OSError:
            # The terminal or the pipe has gone. That must not keep the roles from being stopped in order, so the rest
            # is written to nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def say(self, text: str) -> None:
        """One step of progress."""
        self.line(f"studio: {text}")

    def facts(self, facts: Mapping[str, str]) -> None:
        """Names and values, in two columns."""
        width = max(map(len, facts))
        for name, value in facts.items():
            self.line(f"  {name.ljust(width)}  {value}")

    @contextmanager
    def progress(self, title: str, total_s: float) -> Iterator[Callable[[str, float], None]]:
        """A bar of `total_s` seconds. Gives what moves it: a word on the state, and the seconds done."""
        if not self._out.isatty():
            yield self._plain(title, total_s)
            return
        from rich.console import Console  # noqa: PLC0415 - a tenth of the start time, for the terminal only
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
        # No refreshing thread: a process with threads must not fork the roles it restarts.
        with Progress(*columns, console=Console(file=self._out), auto_refresh=False) as bar:
            task = bar.add_task(title, total=total_s, state="")
            self._bar = bar

            def move(state: str, done: float) -> None:
                bar.update(task, completed=min(done, total_s), state=state, refresh=True)

            try:
                yield move
            finally:
                self._bar = None

    def _plain(self, title: str, total_s: float) -> Callable[[str, float], None]:
        last_state, last_at = "", 0.0

        def move(state: str, done: float) -> None:
            nonlocal last_state, last_at
            if state != last_state or time.monotonic() - last_at >= LINE_EVERY_S:
                last_state, last_at = state, time.monotonic()
                self.say(f"{title}: {state}, {min(done, total_s):.0f} of {total_s:.0f} s")

        return move
