"""One line for every request that has ended on a host, whatever happens to this program in between.

    REDIS_URL=redis://127.0.0.1:6379/0 python results_consumer.py --group my-dashboard --consumer one

Copy it: it needs redis-py and nothing else. It reads the public stream `results` of every partition with a consumer
group of its own. An entry that was printed is acked; one that was not acked before this program died is printed when it
comes back under the same name. So each outcome is printed at least once, and none is skipped. `docs/redis.md` has the
fields, and the rules by which they change.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import redis

OUTCOMES = {
    "completed", "failed", "stopped", "superseded", "expired", "timed_out", "lost", "undeliverable", "cancelled",
}  # fmt: skip
VERSION = "1"
BATCH = 100
WAIT_MS = 1000


def show(entry_id: str, fields: dict[str, str]) -> None:
    """What to do with an entry. Put your own here: it may see an entry twice, so let it be safe to repeat."""
    if fields["v"] != VERSION:
        sys.exit(f"entry {entry_id} is of version {fields['v']}, this program reads {VERSION}")
    if fields["state"] not in OUTCOMES:
        return
    host = f"{fields['tenant']}/{fields['service']}/{fields['hostname']}"
    for request_id in fields["request_ids"].split():
        print(f"{fields['at']} {host} {request_id} {fields['state']}", flush=True)


class Consumer:
    """One consumer of one group, on the streams of all partitions."""

    def __init__(self, client: Any, group: str, name: str, *, is_cluster: bool) -> None:
        self.client = client
        self.group = group
        self.name = name
        partitions = int(client.hget("pcs:{layout}", "partitions") or 0)
        if not partitions:
            sys.exit("this server has no layout yet: start the system first")
        self.streams = [f"pcs:{{{partition}}}:results" for partition in range(partitions)]
        # A cluster's partitions lie on several nodes, and one call reaches one: there, read one after the other.
        self.calls = [[stream] for stream in self.streams] if is_cluster else [self.streams]
        self.wait_ms = None if is_cluster else WAIT_MS

    def make_groups(self) -> None:
        """Our group on every stream, from its beginning; on a server that lost its data, anew."""
        for stream in self.streams:
            try:
                self.client.xgroup_create(stream, self.group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def left_behind(self) -> Iterator[tuple[str, str, dict[str, str] | None]]:
        """What this consumer got before it died, and did not ack."""
        for stream in self.streams:
            after = "0"
            while True:
                answer = self.client.xreadgroup(self.group, self.name, {stream: after}, count=BATCH)
                entries = answer[0][1] if answer else []
                if not entries:
                    break
                for entry_id, fields in entries:
                    yield stream, entry_id, fields
                after = entries[-1][0]

    def new(self) -> Iterator[tuple[str, str, dict[str, str] | None]]:
        """What nobody of the group has got yet; waits a moment when there is nothing."""
        found = False
        for streams in self.calls:
            answer = self.client.xreadgroup(
                self.group, self.name, dict.fromkeys(streams, ">"), count=BATCH, block=self.wait_ms
            )
            for stream, entries in answer or []:
                for entry_id, fields in entries:
                    found = True
                    yield stream, entry_id, fields
        if not found and self.wait_ms is None:
            time.sleep(WAIT_MS / 1000)

    def work_off(self, entries: Iterator[tuple[str, str, dict[str, str] | None]]) -> None:
        """First the work, then the ack: the other way round, a crash between the two would skip an entry."""
        for stream, entry_id, fields in entries:
            if fields:  # none: somebody deleted the entry by hand; trimming never does that to what is pending
                show(entry_id, fields)
            self.client.xack(stream, self.group, entry_id)

    def run(self) -> None:
        """Work until somebody ends it; a server that is away is waited for."""
        while True:
            try:
                self.make_groups()
                self.work_off(self.left_behind())
                while True:
                    self.work_off(self.new())
            except (redis.ConnectionError, redis.TimeoutError) as error:
                print(f"waiting for the server: {error}", file=sys.stderr, flush=True)
                time.sleep(1)
            except redis.ResponseError as error:
                # The server was emptied: groups are made anew. Whatever else it refuses is a fault of ours.
                if not any(sign in str(error) for sign in ("NOGROUP", "UNBLOCKED", "no such key")):
                    raise


def main() -> None:
    """Read the command line and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    parser.add_argument("--url", default=url, help="the broker; with a password, rather by REDIS_URL than here")
    parser.add_argument("--group", default="results-consumer", help="a group of your own (default: %(default)s)")
    parser.add_argument(
        "--consumer", default="one", help="a name in the group, kept over restarts (default: %(default)s)"
    )
    parser.add_argument("--cluster", action="store_true", help="the URL is that of a Redis Cluster's node")
    given = parser.parse_args()
    # redis-py waits for an answer as long as it is told to; a blocking read takes longer than its default.
    connect = redis.RedisCluster.from_url if given.cluster else redis.Redis.from_url
    client = connect(given.url, decode_responses=True, protocol=2, socket_timeout=WAIT_MS / 1000 + 10)
    try:
        Consumer(client, given.group, given.consumer, is_cluster=given.cluster).run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
