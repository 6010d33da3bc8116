"""The application: parts, routes, refusals, and what happens at start and end."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from api import first_tokens, problems
from api.accompany import Accompany, fixed_routes
from api.body_limit import BodyLimit
from api.dependencies import Studio
from api.documented import DocumentedApi
from api.door import Door
from api.fast_answers import IdleAnswers
from api.fast_path import PATH, FastPath
from api.fast_refusals import FastRefusals
from api.routes import (
    audit,
    bulk_requests,
    commands,
    completions,
    console,
    dead_letters,
    differences,
    docs,
    enrolment,
    events,
    flamegraphs,
    fleet_status,
    functions,
    health,
    heartbeats,
    hosts,
    metrics,
    profile_requests,
    profiles,
    requests,
    roles,
    schedules,
    session,
    sign_in,
    timelines,
    tokens,
)
from api.settings import ApiSettings
from api.slashed_names import SlashedNames
from api.uploads import MOST_BYTES
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.roster import API, Roster
from broker.settings import BrokerSettings
from broker.streams import consumer_name

log = structlog.get_logger(__name__)

COLLECTED_AT: Final = (20_000, 20, 50)
"""So many new objects until the collector looks at them, so many such looks until the next longer one."""
SET_UP_AGAIN: Final = timedelta(seconds=3)
SIGN_EVERY: Final = timedelta(seconds=3)
NO_TELEMETRY_OF_ITS_OWN: Final[TelemetryConfig] = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False,
}  # fmt: skip
"""Of the framework: it would make spans of every call, heartbeats too, beside ours, and send what callers got wrong."""
DESCRIPTION = """\
A control plane for profilers: submit a request, agents take it with their heartbeats, follow it to its outcome.

Every call but `/healthz` and `/readyz` needs `Authorization: Bearer TOKEN`. Refusals are RFC 9457 problem details.
"""


def create_app(settings: ApiSettings, broker_settings: BrokerSettings) -> FastAPI:
    """One API process. It serves at once; what needs the broker answers 503 until the broker is there."""
    secrets = None if settings.insecure_no_auth else first_tokens.read_or_make(settings.state_dir)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Broker.opened(broker_settings) as broker:
            parts = Studio(settings, broker)
            app.state.studio = parts
            tasks = [
                asyncio.create_task(_set_up(parts, secrets), name="set up"),
                asyncio.create_task(parts.nudges.listen(), name="nudges"),
                asyncio.create_task(_sign_in(parts.roster), name="roster"),
                asyncio.create_task(parts.held.watch(parts), name="held heartbeats"),
                asyncio.create_task(parts.authenticator.follow_changes(), name="tokens"),
                asyncio.create_task(parts.lookups.follow(), name="which tokens there are"),
                asyncio.create_task(parts.refusals.keep_writing(), name="refusals"),
            ]
            if parts.people is not None:
                tasks.append(asyncio.create_task(parts.people.keys.follow(), name="issuer's keys"))
            _spare_the_collector()
            try:
                yield
            finally:
                parts.nudges.close()
                parts.live.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await parts.refusals.close()

    app = DocumentedApi(
        title="Performance Studio", version="0.1.0", description=DESCRIPTION, lifespan=lifespan,
        telemetry=NO_TELEMETRY_OF_ITS_OWN, docs_url=None, redoc_url=None,  # they load scripts from elsewhere
        redirect_slashes=False,  # where to would be made of the Host that a caller says, and be http behind a proxy
    )  # fmt: skip
    problems.install(app)
    every = (
        profile_requests, bulk_requests, heartbeats, completions, enrolment, requests, schedules, hosts, roles,
        dead_letters, tokens, health, audit, events, metrics, commands, fleet_status, profiles, flamegraphs,
        differences, functions, timelines, docs, session, sign_in, console,
    )  # fmt: skip
    for routes in every:
        # As they are. To include a router makes each of its routes anew, which takes a fifth of the start.
        app.router.routes.extend(routes.router.routes)
    app.add_middleware(BodyLimit, of_path={profiles.UPLOAD: MOST_BYTES})
    app.add_middleware(SlashedNames)
    refusals, idle_answers = FastRefusals(), IdleAnswers()
    app.door = Door(app, refusals, idle_answers)
    app.put_before(partial(FastPath, refusals=refusals, idle_answers=idle_answers))
    app.straight = frozenset({PATH})
    app.put_before(partial(Accompany, routes=fixed_routes(app)))  # last: it is the outermost
    return app


def _spare_the_collector() -> None:
    """Have the garbage collector look at what calls leave, and not at the framework again and again.

    With its defaults it takes a fifth of the time of a busy process. What is made at the start stays until the end, and
    calls leave next to nothing in cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)


async def _sign_in(roster: Roster) -> None:
    """Say every few seconds that heartbeats are heard here: silence means nothing while nobody listens."""
    instance = consumer_name()
    while True:
        with contextlib.suppress(BrokerUnavailable):  # then nobody listens, which is what the missing signature says
            await roster.sign(API, instance, now=time.time())
        await asyncio.sleep(SIGN_EVERY.total_seconds())


async def _set_up(parts: Studio, secrets: dict[str, str] | None) -> None:
    """Check the layout and register the first tokens, as soon as the broker answers; again if it comes back empty."""
    try:
        while True:
            await parts.broker.wait_until_ready()
            try:
                if secrets is not None:
                    await first_tokens.register(secrets, parts.tokens, parts.audit)
            except BrokerUnavailable:
                await asyncio.sleep(0.5)  # it went away again between the two: wait for it again
                continue
            if not parts.is_set_up:
                log.info("ready")
            parts.is_set_up = True
            await asyncio.sleep(SET_UP_AGAIN.total_seconds())
    except Exception:
        # A wrong layout, say: /readyz stays red, and the log says why.
        parts.is_set_up = False
        log.exception("set-up failed")
        raise
