"""Node's inspector: opened by a signal, spoken to over a websocket, closed behind us.

An open inspector lets every user of the host run code in the process. So it is open while it is needed and no longer:
closed when we are done, by a timer within the process should we die, and in the background should it open late. One
that was open before belongs to somebody else, and stays.

One signal opens it up to three times: Node has the code that runs interrupted for it, and tells the event loop too
(`RequestIoThreadStart` in src/inspector_agent.cc). What is open already stays as it is; but closed between the two, it
would be opened anew, for good. So it is closed two turns of the event loop after we are done with it: when our request
comes while the loop hands out what it has heard, only the next turn hears the rest.
"""

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from agent.processes import Process, is_alive
from agent.profilers.node_target import INSPECTOR_PORT, NotToBeAsked, ask, connected, ports

PATIENCE: Final = timedelta(seconds=10)
"""For the inspector to open, and for each of its answers."""
WATCH: Final = timedelta(minutes=10)
"""How long one that did not open in time is watched, to close it if it opens after all."""
HASTE: Final = timedelta(seconds=3)
MAX_MESSAGE: Final = 256 * 2**20
_TICK: Final = 0.05
_SLOW_TICK: Final = 1.0
_LOOKS: Final = 2
"""In a row that must not find it open: a table that is read while connections come and go may leave one out."""
_KEPT: Final = "globalThis[Symbol.for('gprofiler')]"
"""What is to come yet: the timer, or the next turn. The next run on the process calls it off."""
_CALL_OFF: Final = f"clearTimeout({_KEPT}); clearImmediate({_KEPT}); delete {_KEPT}"
_END: Final = "process._debugEnd()"
_LAST: Final = f"{_KEPT} = setImmediate(() => {{ delete {_KEPT}; {_END} }})"
_CLOSE: Final = f"{_CALL_OFF}; {_KEPT} = setImmediate(() => {{ {_LAST} }}); 0"
_CLOSE_NOW: Final = f"{_CALL_OFF}; {_KEPT} = setImmediate(() => {{ {_LAST}; {_END} }}); {_END}"
"""For an event loop that does not turn: at once, and again each time that it may have been opened anew."""

log = structlog.get_logger(__name__)

_watches: Final[set[asyncio.Task[None]]] = set()


class InspectorFailed(RuntimeError):
    """The inspector cannot be had, or does not answer as it should; the text says why."""


class Session:
    """A conversation with one inspector."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._number = 0

    async def call(self, method: str, /, **params: Any) -> Mapping[str, Any]:
        """What the method gives.

        Raises:
            InspectorFailed: it gives an error, or nothing in time.
        """
        self._number += 1
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await self._link.send(json.dumps({"id": self._number, "method": method, "params": params}))
                while (answer := json.loads(await self._link.recv())).get("id") != self._number:
                    pass  # an event that nobody asked for
        except TimeoutError:
            raise InspectorFailed(f"its inspector does not answer {method}") from None
        except (WebSocketException, ValueError, OSError) as problem:
            raise InspectorFailed(f"the connection to its inspector broke: {problem}") from problem
        if "error" in answer:
            raise InspectorFailed(f"its inspector refuses {method}: {str(answer['error'].get('message'))[:200]}")
        result: Mapping[str, Any] = answer["result"]
        return result

    async def ended(self) -> None:
        """Return when the process has ended or closed the inspector itself."""
        await self._link.wait_closed()

    async def close_after(self, span: timedelta) -> None:
        """Have the process close the inspector itself in that time, unless we did so before."""
        milliseconds = int(span.total_seconds() * 1000)
        timer = f"{_CALL_OFF}; {_KEPT} = setTimeout(() => {{ {_CLOSE} }}, {milliseconds}).unref(); 0"
        await self.call("Runtime.evaluate", expression=timer)

    async def close_inspector(self) -> None:
        """Have the process close the inspector, which ends the connection: no answer is waited for."""
        for expression, patience in ((_CLOSE, HASTE), (_CLOSE_NOW, PATIENCE)):
            with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                async with asyncio.timeout(patience.total_seconds()):
                    text = {"id": 0, "method": "Runtime.evaluate", "params": {"expression": expression}}
                    await self._link.send(json.dumps(text))
                    await self._link.wait_closed()
                    return


@contextlib.asynccontextmanager
async def inspected(process: Process, *, at_most: timedelta) -> AsyncIterator[Session]:
    """A session with the process's inspector, which is as open or closed afterwards as it was before.

    Raises:
        InspectorFailed: there is none to be had.
    """
    try:
        own, everybody = await asyncio.to_thread(ports, process.pid)
        was_open = INSPECTOR_PORT in own
        if not was_open and INSPECTOR_PORT in everybody:
            raise InspectorFailed(f"another process of its network listens on port {INSPECTOR_PORT}")
        if not was_open:
            await asyncio.to_thread(ask, process)
        try:
            await _open(process)
        except InspectorFailed:
            if not was_open:
                _watch(process)
            raise
        except asyncio.CancelledError:  # the agent may be about to end: there is no background to leave it to
            if not was_open:
                await _close_late(process, within=HASTE)
            raise
        async with _session(process) as session:
            if was_open:
                yield session
                return
            try:
                await session.close_after(at_most + PATIENCE)
                yield session
            finally:
                await session.close_inspector()
                await _see_closed(process)
    except (OSError, NotToBeAsked, WebSocketException, http.client.HTTPException) as problem:
        raise InspectorFailed(str(problem)) from problem


async def _open(process: Process) -> None:
    """Wait until the process listens where inspectors do."""
    until = time.monotonic() + PATIENCE.total_seconds()
    while time.monotonic() < until:
        if INSPECTOR_PORT in (await asyncio.to_thread(ports, process.pid))[0]:
            return
        await asyncio.sleep(_TICK)
    raise InspectorFailed(f"it did not open its inspector in {PATIENCE.total_seconds():.0f} s")


@contextlib.asynccontextmanager
async def _session(process: Process) -> AsyncIterator[Session]:
    url = await asyncio.to_thread(_address, process.pid)
    patience = PATIENCE.total_seconds()
    there = await asyncio.to_thread(connected, process.pid, INSPECTOR_PORT, patience=patience)
    async with connect(
        url, sock=there, max_size=MAX_MESSAGE, compression=None, proxy=None, open_timeout=patience, close_timeout=1,
        ping_interval=None,
    ) as link:  # fmt: skip
        yield Session(link)


def _address(pid: int) -> str:
    """Where the inspector takes websockets; its path is a secret that it tells to who asks on the loopback."""
    patience = PATIENCE.total_seconds()
    asking = http.client.HTTPConnection("127.0.0.1", INSPECTOR_PORT, timeout=patience)
    asking.sock = connected(pid, INSPECTOR_PORT, patience=patience)
    try:
        asking.request("GET", "/json/list")
        targets = json.loads(asking.getresponse().read(MAX_MESSAGE))
        path = str(targets[0]["webSocketDebuggerUrl"]).partition(f":{INSPECTOR_PORT}")[2]
    except (ValueError, LookupError, TypeError) as problem:
        raise InspectorFailed(f"what listens on port {INSPECTOR_PORT} is no inspector: {problem}") from problem
    finally:
        asking.close()
    return f"ws://127.0.0.1:{INSPECTOR_PORT}{path}"


async def _see_closed(process: Process) -> None:
    """Say so where it cannot be closed: a person must know."""
    until = time.monotonic() + PATIENCE.total_seconds()
    looks = 0
    with contextlib.suppress(OSError):  # it has ended, and its inspector with it
        while looks < _LOOKS:
            if INSPECTOR_PORT not in (await asyncio.to_thread(ports, process.pid))[0]:
                looks += 1
                continue
            looks = 0
            if time.monotonic() > until:
                log.error("the inspector of a process is still open", pid=process.pid, port=INSPECTOR_PORT)
                _watch(process)
                return
            await asyncio.sleep(_TICK)


def _watch(process: Process) -> None:
    """Close the inspector in the background, should it be open after all."""
    watch = asyncio.get_running_loop().create_task(_close_late(process, within=WATCH))
    _watches.add(watch)
    watch.add_done_callback(_watches.discard)


async def _close_late(process: Process, *, within: timedelta) -> None:
    until = time.monotonic() + within.total_seconds()
    while time.monotonic() < until:
        try:
            if INSPECTOR_PORT in (await asyncio.to_thread(ports, process.pid))[0]:
                async with _session(process) as session:
                    await session.close_inspector()
                return
        except (OSError, WebSocketException, http.client.HTTPException, InspectorFailed) as problem:
            log.info("an inspector that opened late is not closed yet", pid=process.pid, reason=str(problem))
        if not await asyncio.to_thread(is_alive, process):
            return
        await asyncio.sleep(_SLOW_TICK)
