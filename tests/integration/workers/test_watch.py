"""The watch, on the real server: who is lost, and when silence counts."""

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import HostRegistry
from broker.public_streams import AnyEvent, FleetEventReader, ServiceHeard, ServiceSilent
from broker.roster import API, Roster
from protocol.pacing import DEFAULT_INTERVAL, stale_after
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost
from workers.watch import Watch

GRACE = stale_after(DEFAULT_INTERVAL).total_seconds()


class WatchedFleet:
    """Hosts at work on a command each, a watch, and an API that signs in as long as it is told to listen."""

    def __init__(self, broker: Broker, hosts: int) -> None:
        self.hosts = [PlayedHost(broker, a_host(f"web-{number}")) for number in range(hosts)]
        self.roster = Roster(broker)
        self.watch = Watch(HostRegistry(broker), CommandStore(broker), self.roster)
        self.now = NOW

    async def begin(self) -> None:
        for host in self.hosts:
            await host.submit(duration=3_600)
            await host.settle()
            await host.begin()

    async def pass_time(self, seconds: float, *, beating: int, listening: bool = True) -> int:
        """Time goes by in steps; the first hosts go on beating. Gives how many commands were lost."""
        lost, until = 0, self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 10)
            for host in self.hosts:
                host.now = self.now
            for host in self.hosts[:beating]:
                await host.beat()
            if listening:
                await self.roster.sign(API, "an-api", now=self.now)
            lost += await self.watch.look_at(self.now)
        return lost

    async def told(self) -> list[AnyEvent]:
        """What the events tell of the service as a whole, oldest first."""
        broker = self.hosts[0].broker
        of_service = broker.place(a_host(""))
        async with broker.guarded() as redis:
            entries = await redis.xrange(keys.events(of_service.partition))
        events = [FleetEventReader.validate_python(fields) for _, fields in entries]
        assert all(event.model_extra == {} for event in events), "a field that no model has"
        return [event for event in events if not event.hostname]

    async def states(self) -> list[str | None]:
        return [await host.state() for host in self.hosts]


async def test_a_host_that_falls_silent_loses_its_command_after_its_grace(broker: Broker) -> None:
    fleet = WatchedFleet(broker, 3)
    await fleet.begin()
    assert await fleet.pass_time(GRACE, beating=2) == 0
    assert await fleet.pass_time(20, beating=2) == 1
    assert await fleet.states() == ["running", "running", "lost"]


async def test_nobody_is_lost_while_nobody_listens(broker: Broker) -> None:
    """The API was away: every host is silent by the record, and none by its own fault."""
    fleet = WatchedFleet(broker, 2)
    await fleet.begin()
    await fleet.pass_time(20, beating=2)
    assert await fleet.pass_time(3 * GRACE, beating=0, listening=False) == 0
    assert await fleet.pass_time(GRACE - 20, beating=1) == 0
    assert await fleet.pass_time(60, beating=1) == 1
    assert await fleet.states() == ["running", "lost"]


async def test_a_service_that_falls_silent_at_once_is_given_time(broker: Broker) -> None:
    fleet = WatchedFleet(broker, 5)
    await fleet.begin()
    assert await fleet.pass_time(2 * GRACE, beating=2) == 0
    assert set(await fleet.states()) == {"running"}


async def test_the_events_tell_once_that_a_service_is_silent_and_heard_again(broker: Broker) -> None:
    fleet = WatchedFleet(broker, 5)
    await fleet.begin()
    await fleet.pass_time(GRACE, beating=2)
    assert await fleet.told() == []
    await fleet.pass_time(60, beating=2)
    (silent,) = await fleet.told()
    assert isinstance(silent, ServiceSilent)
    assert (silent.tenant, silent.service, silent.hostname) == ("default", "web", "")
    assert (silent.known_hosts, silent.silent_hosts) == ("5", "3")
    fleet.watch = Watch(HostRegistry(broker), CommandStore(broker), fleet.roster)
    await fleet.pass_time(30, beating=2)
    assert await fleet.told() == [silent], "a watch that has just begun takes its own absence for nothing"
    await fleet.pass_time(30, beating=3)
    _, heard = await fleet.told()
    assert isinstance(heard, ServiceHeard)
    assert (heard.silent_since, heard.known_hosts, heard.silent_hosts) == (silent.at, "5", "2")
    await fleet.pass_time(30, beating=3)
    assert len(await fleet.told()) == 2


async def test_a_silent_service_of_which_nothing_is_left_is_told_of_once_and_forgotten(broker: Broker) -> None:
    fleet = WatchedFleet(broker, 3)
    await fleet.begin()
    await fleet.pass_time(2 * GRACE, beating=0)
    fleet.now += 8 * 86_400
    assert await HostRegistry(broker).forget_silent(now=fleet.now) == 3
    await fleet.pass_time(20, beating=0)
    assert [event.kind for event in await fleet.told()] == ["service_silent", "service_heard"]
    assert await HostRegistry(broker).silent_services() == {}
