"""Heartbeat mode: wires the parts together, and lets them wind up when the agent is told to stop."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from structlog.typing import FilteringBoundLogger

from agent import logs, remains
from agent.addresses import sends_in_clear
from agent.books import Books
from agent.capabilities import capabilities
from agent.capture import installed
from agent.conductor import Conductor
from agent.courier import Courier
from agent.credentials import BadToken, Secret, is_exposed
from agent.deaths import Deaths
from agent.enrolment import OwnCredential, enrol
from agent.guards import Guards
from agent.heartbeater import Heartbeater, Identity, Pace
from agent.host import agent_version, host_id, ip_address
from agent.host_capture import HostCapture
from agent.ledger import Ledger
from agent.lookout import Lookout
from agent.output import OutputSettings, save
from agent.profiler_configs import run_request_extras
from agent.replies import Defaults
from agent.reports import Reporter
from agent.runner import Tools
from agent.sending import sender, token_source, transport_to
from agent.settings import AgentSettings
from agent.spool import Spool
from agent.state_dir import StateDir, StateDirUnusable, sole
from agent.surroundings import Surroundings, own_pod
from agent.transport import Transport, TransportError
from agent.upload import Uploader
from agent.waiting import unless
from protocol.commands import StartConfig
from protocol.enrolment import EnrolmentWish
from protocol.heartbeats import WAITS

log: FilteringBoundLogger = structlog.get_logger()

DRAIN: Final = timedelta(seconds=7)
"""To stop the run and save what it sampled."""
FIRST_LOOK_WITHIN: Final = timedelta(seconds=2)
"""Reading what the kernel says of a process may hang; beating must not."""
FAREWELL: Final = timedelta(seconds=3)
"""After that, to tell the server."""


def serve(settings: AgentSettings) -> int:
    """Run the agent until SIGTERM or SIGINT; give back the exit code.

    Raises:
        StateDirUnusable: the agent cannot keep its books, or another agent does; likewise for the output directory.
    """
    state = StateDir(settings.on_host.state_dir)
    identity = f"{settings.server.address}\0{settings.server.service_name}\0{settings.on_host.hostname}"
    with state.held(), sole(identity):
        wanted = [settings.logs.heartbeat_log, state.heartbeat_log] if settings.logs.heartbeat_log else []
        file, refused = logs.open_heartbeat_log(wanted)
        also = _log_file(settings)
        logs.configure(at_least="debug" if settings.logs.verbose else "info", file=file, also=also)
        try:
            if refused:
                log.warning("heartbeat log elsewhere", refused=refused, path=str(file.path) if file else None)
            _say_once(settings)
            try:
                settings.output.directory.mkdir(parents=True, exist_ok=True)
                remains.sweep(settings.output.directory)
                ledger = Ledger(state.ledger)
            except OSError as error:
                raise StateDirUnusable(f"{error.filename}: {error.strerror}") from error
            with ledger:
                return _run(settings, state, ledger)
        finally:
            for each in (file, also):
                if each is not None:
                    each.close()


def _log_file(settings: AgentSettings) -> logs.LogFile | None:
    try:
        return logs.open_log_file(settings.logs.file, max_bytes=settings.logs.max_bytes, backups=settings.logs.backups)
    except OSError as error:
        raise StateDirUnusable(f"the log file {settings.logs.file} cannot be written: {error.strerror}") from error


def _run(settings: AgentSettings, state: StateDir, ledger: Ledger) -> int:
    try:
        return asyncio.run(_Daemon(settings, state, ledger).run())
    except (BadToken, ssl.SSLError) as error:  # a credential, or a file of --ca-bundle and --client-cert
        raise StateDirUnusable(str(error)) from error


def _say_once(settings: AgentSettings) -> None:
    log.info(
        "agent starts",
        version=agent_version(),
        server=settings.server.address,
        service=settings.server.service_name,
        host=settings.on_host.hostname,
        output_dir=str(settings.output.directory),
        state_dir=str(settings.on_host.state_dir),
    )
    for notice in settings.notices:
        log.warning("note", note=notice)
    if (
        settings.server.token is None
        and settings.server.token_file is None
        and settings.server.enrolment_token_file is None
    ):
        log.warning("no token: only a server without authentication will answer")
    elif sends_in_clear(settings.server.address):
        log.warning("the token travels unencrypted; use https://", server=settings.server.address)
    if settings.server.token_file is not None and is_exposed(settings.server.token_file):
        log.warning("every user of this host can read the token file", path=str(settings.server.token_file))


class _Daemon:
    def __init__(self, settings: AgentSettings, state: StateDir, ledger: Ledger) -> None:
        self._settings = settings
        self._own = OwnCredential(state.path)
        self._own_secret = self._own.read()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._transport = self._transport_to(settings.server.address)
        self._upload_transport, self._uploader = self._uploader_into(state)
        reporter = Reporter(hostname=settings.on_host.hostname, service_name=settings.server.service_name)
        self._books = Books(ledger, reporter, announce=self._changed.set, report=self._wake_courier)
        self._guards = Guards(
            settings.guards,
            Deaths(state.deaths, most=settings.guards.max_deaths),
            directories=tuple(dict.fromkeys((settings.output.directory, state.path))),
            running=lambda: self._conductor.is_busy,
            end=self._end_runs,
            announce=self._guards_have_news,
            stopping=self._stopping,
        )
        self._conductor = Conductor(
            self._books,
            tools=Tools(
                HostCapture(settings.profilers),
                partial(save, settings=OutputSettings(settings.output.formats, settings.output.rotating)),
                settings.output.directory,
                state.work,
                keep=settings.output.keep,
                upload=self._uploader,
                narrow=self._guards.narrowed,
            ),
            gate=self._guards,
            profilers_of=_profilers_of,
            reporter=reporter,
            defaults=Defaults(
                duration_seconds=int(settings.profiling.duration.total_seconds()),
                frequency_hz=settings.profiling.frequency_hz,
                continuous=settings.profiling.continuous,
            ),
        )
        self._courier = Courier(self._transport, self._books, cap=settings.server.interval, stopping=self._stopping)
        self._lookout = Lookout(
            Surroundings(own_pod(os.environ)).look, announce=self._changed.set, stopping=self._stopping
        )
        self._heartbeater = Heartbeater(
            self._transport,
            self._books,
            self._conductor,
            self._lookout,
            pace=Pace(interval=settings.server.interval, wait=settings.server.wait),
            identify=self._identify,
            probe=self._probe,
            on_recovery=self._retry_now,
            changed=self._changed,
            stopping=self._stopping,
        )

    async def run(self) -> int:
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, signal.Signals(number).name)
        async with contextlib.aclosing(self._transport), contextlib.aclosing(self._upload_transport):
            self._books.close_the_past(partial(remains.left_by, self._settings.output.directory))
            self._conductor.take_up(self._books.waiting())
            await self._enrol()
            roles = [
                asyncio.create_task(role, name=name)
                for name, role in (
                    ("heartbeater", self._beat()),
                    ("courier", self._courier.run()),
                    ("conductor", self._conductor.work()),
                    ("lookout", self._lookout.run()),
                    ("guards", self._guards.watch()),
                    *((("uploader", self._uploader.run()),) if self._uploader is not None else ()),
                )
            ]
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({*roles, stopping}, return_when=asyncio.FIRST_COMPLETED)
            broken = [role for role in roles if role.done() and not self._stopping.is_set()]
            for role in broken:
                log.error(
                    "a role of the agent has ended; the agent stops", role=role.get_name(), exc_info=role.exception()
                )
            self._stopping.set()
            await self._wind_up()
            for task in (*roles, stopping):
                task.cancel()
            await asyncio.gather(*roles, stopping, return_exceptions=True)
            log.info("agent stopped")
        return 1 if broken else 0

    async def _beat(self) -> None:
        """Beat, from the first time on with what runs here: else a second beat would follow at once to tell it."""
        await self._lookout.first_look(within=FIRST_LOOK_WITHIN)
        await self._heartbeater.run()

    async def _enrol(self) -> None:
        """Buy a credential of our own before the first heartbeat, if we are to have one."""
        token_file = self._settings.server.enrolment_token_file
        if token_file is None or self._own_secret is not None:
            return
        try:
            wish = EnrolmentWish(
                service_name=self._settings.server.service_name, hostname=self._settings.on_host.hostname,
                host_id=host_id(self._settings.on_host.state_dir),
            )  # fmt: skip
            self._own_secret = await enrol(
                self._own, self._transport, wish, token_file=token_file, cap=self._settings.server.interval,
                stopping=self._stopping,
            )  # fmt: skip
        except OSError as error:
            raise StateDirUnusable(f"{error.filename}: {error.strerror}") from error

    def _token_source(self, otherwise: Callable[[], Secret | None]) -> Callable[[], Secret | None]:
        """Our own credential, once we have one."""
        return lambda: self._own_secret or otherwise()

    async def _wind_up(self) -> None:
        """Keep what was sampled and tell the server, within `DRAIN` and `FAREWELL`; the ledger knows the rest."""
        try:
            async with asyncio.timeout(DRAIN.total_seconds()):
                await unless(self._conductor.drain(), self._hurry)
        except TimeoutError:
            log.warning("the run did not end in time; it will be reported when the agent starts again")
        try:
            async with asyncio.timeout(FAREWELL.total_seconds()):
                await unless(self._farewell(), self._hurry)
        except TimeoutError:
            log.warning("the server did not answer in time; completions are kept", count=len(self._books.unsent))
        except TransportError as error:
            log.warning("completions are kept for the next start", count=len(self._books.unsent), reason=str(error))

    async def _farewell(self) -> None:
        await self._courier.deliver()
        await self._heartbeater.last_beat()
        if self._uploader is not None:
            await self._uploader.deliver()

    def _asked_to_stop(self, name: str) -> None:
        if self._stopping.is_set():
            log.warning("asked to stop again: not waiting for the server", signal=name)
            self._hurry.set()
        else:
            log.info("asked to stop", signal=name)
            self._stopping.set()

    async def _probe(self) -> dict[str, Any]:
        offered = await asyncio.to_thread(lambda: capabilities(installed()))
        spool = {"spool": self._uploader.facts()} if self._uploader is not None and self._uploader.facts() else {}
        return {**offered, WAITS: True, **self._guards.facts(), **spool}

    def _end_runs(self, why: str) -> None:
        self._conductor.end_runs(why)

    def _guards_have_news(self) -> None:
        """Called from a thread."""
        self._loop.call_soon_threadsafe(self._heartbeater.look_again)

    def _wake_courier(self) -> None:
        self._courier.wake()

    def _retry_now(self) -> None:
        self._courier.retry_now()
        if self._uploader is not None:
            self._uploader.retry_now()

    def _transport_to(self, address: str) -> Transport:
        settings = self._settings
        token = self._token_source(token_source(settings.server))
        return transport_to(address, settings.server, settings.tls, token=token)

    def _uploader_into(self, state: StateDir) -> tuple[Transport, Uploader | None]:
        """Who uploads, and by what: profiles may go to another server than heartbeats."""
        settings = self._settings
        address = settings.upload.address
        if address is None:
            return self._transport, None
        transport = self._transport if address == settings.server.address else self._transport_to(address)
        try:
            spool = Spool(state.spool, settings.upload.limits)
        except OSError as error:
            raise StateDirUnusable(f"{error.filename}: {error.strerror}") from error
        who = sender(settings.on_host.hostname, settings.server)
        return transport, Uploader(transport, spool, who, cap=settings.server.interval, stopping=self._stopping)

    async def _identify(self) -> Identity:
        return Identity(
            hostname=self._settings.on_host.hostname,
            service_name=self._settings.server.service_name,
            agent_version=agent_version(),
            ip_address=await asyncio.to_thread(ip_address, self._settings.server.address),
            host_id=host_id(self._settings.on_host.state_dir) if self._own_secret is not None else None,
        )


def _profilers_of(config: StartConfig) -> frozenset[str]:
    """The profilers that a start may use: two runs that share one do not go on together."""
    configs = run_request_extras(config)
    mode = configs.mode or config.profiling_mode
    return frozenset(
        profiler.name for profiler in installed() if mode in profiler.modes and profiler.name not in configs.disabled
    )
