"""Every key in Redis, each from one builder that says its type, its life and who writes it.

A host lives in one partition, and every key of the host carries that partition's hash tag `{p}`: one script changes all
of them in one atomic step, on a single server and on a cluster. No step needs two partitions to be in one place.
"""

import binascii
import hashlib
from typing import Final, NamedTuple
from urllib.parse import quote

from protocol.names import HostKey

PREFIX: Final = "pcs:"


class Place(NamedTuple):
    """Where a host's keys are: its partition and its path (`tenant/service/host`, percent-encoded)."""

    partition: int
    path: str

    @property
    def host_key(self) -> HostKey:
        """The host the path names."""
        return HostKey.from_path(self.path)


def stem(partition: int) -> Place:
    """A place without a path: a script makes the keys of many hosts of its keys, each with a path behind.

    They are in the slot of what the script is called with. Sent whole, they would be most of what is sent: the server
    reads 16 KiB of a connection at a time, and syncs its file after each bite that writes.
    """
    return Place(partition, "")


def place(host: HostKey, partitions: int) -> Place:
    """The partition of a host: CRC-16 (XMODEM, the one Redis Cluster uses for slots) of its path."""
    path = host.path
    return Place(binascii.crc_hqx(path.encode(), 0) % partitions, path)


def requests(at: Place) -> str:
    """Stream, deleted when drained. Requests and cancels not yet compacted; submit, move, cancel; drained by settle."""
    return f"{PREFIX}{{{at.partition}}}:requests:{at.path}"


def open_requests(at: Place) -> str:
    """Hash request id -> open request (JSON), gone with its last field. Written by settle, beat and complete."""
    return f"{PREFIX}{{{at.partition}}}:open:{at.path}"


def command(at: Place) -> str:
    """Hash, TTL 7 d once ended. The effective command, its state, generation and clocks; settle, beat, complete."""
    return f"{PREFIX}{{{at.partition}}}:command:{at.path}"


def history(at: Place) -> str:
    """Stream capped at 100, TTL 7 d. The host's ended commands with their outcome; settle, beat, complete."""
    return f"{PREFIX}{{{at.partition}}}:history:{at.path}"


def late(at: Place) -> str:
    """Set, TTL 7 d. Ids of older commands whose late completion is recorded; complete."""
    return f"{PREFIX}{{{at.partition}}}:late:{at.path}"


def host(at: Place) -> str:
    """Hash, TTL 7 d. What the agent said of itself at its last beat, by the server's clock; beat, keep_inventory."""
    return f"{PREFIX}{{{at.partition}}}:host:{at.path}"


def conflict(at: Place) -> str:
    """String, TTL 600 s. A token that may not speak for the host did: the events were told. beat, complete, speak."""
    return f"{PREFIX}{{{at.partition}}}:conflict:{at.path}"


def inventory(at: Place) -> str:
    """String (base64 of zlib of JSON), TTL 7 d as its host. What runs there, as the agent said last; keep_inventory."""
    return f"{PREFIX}{{{at.partition}}}:inventory:{at.path}"


def beats(partition: int) -> str:
    """Sorted set, path -> last beat (ms, server's clock). Forgotten by the janitor after 7 d; written by beat."""
    return f"{PREFIX}{{{partition}}}:beats"


def deadlines(partition: int) -> str:
    """Sorted set, path -> when compaction must look at the host next (ms). Written by settle and beat, read by due."""
    return f"{PREFIX}{{{partition}}}:deadlines"


def taken(partition: int) -> str:
    """Sorted set, path -> when it took its command (ms), while its agent holds one; beat, complete, settle, lose."""
    return f"{PREFIX}{{{partition}}}:taken"


def doorbell(partition: int) -> str:
    """Stream with group `mergers`: this host has something to compact. Written by submit, move, beat, complete, due."""
    return f"{PREFIX}{{{partition}}}:doorbell"


def uploads(partition: int) -> str:
    """Stream with group `indexers`, deleted when drained. Profiles that are stored and not indexed; uploads."""
    return f"{PREFIX}{{{partition}}}:uploads"


def pushes(partition: int) -> str:
    """Stream with group `pushers`, capped at 10,000. Profiles that are indexed and not pushed to a sink yet; pushes."""
    return f"{PREFIX}{{{partition}}}:pushes"


def pushed(partition: int, what: str) -> str:
    """String, TTL 1 d. That this profile was asked to be pushed to this sink; pushes."""
    return f"{PREFIX}{{{partition}}}:pushed:{what}"


def results(partition: int) -> str:
    """Stream, trimmed after 24 h behind its slowest group. Every change of state of every command; any script."""
    return f"{PREFIX}{{{partition}}}:results"


def events(partition: int) -> str:
    """Stream, trimmed after 7 d behind its slowest group. Facts of hosts and services; beat, lose, hush."""
    return f"{PREFIX}{{{partition}}}:events"


def audit(partition: int) -> str:
    """Stream, trimmed after 7 d behind its slowest group. Every act, in a hash chain; append_audit."""
    return f"{PREFIX}{{{partition}}}:audit"


def audit_chain(partition: int) -> str:
    """Hash, no TTL. Where the chain of `audit` begins, after trimming, and where it ends; append_audit, trim_audit."""
    return f"{PREFIX}{{{partition}}}:audit_chain"


def silent_services(partition: int) -> str:
    """Hash service's path -> silent since, grace (ms), no TTL: each goes when the service is heard again; hush."""
    return f"{PREFIX}{{{partition}}}:silent"


def dead_letters(partition: int) -> str:
    """Stream capped at 10,000. Hosts not compacted, commands never acked, webhooks not told; park, beat, outbox."""
    return f"{PREFIX}{{{partition}}}:dead_letters"


def replayed(partition: int, entry_id: str) -> str:
    """String (JSON), TTL 7 d. What a dead letter's replay did, so that it is done once; replay."""
    return f"{PREFIX}{{{partition}}}:replayed:{entry_id}"


def submitted(partition: int, request_id: str, batch: str) -> str:
    """String, TTL 24 h. Marks a batch of a request as appended, so that a repeat appends nothing twice; submit."""
    return f"{PREFIX}{{{partition}}}:submitted:{request_id}:{batch}"


def withdrawn(partition: int, request_id: str) -> str:
    """String, TTL 7 d. A tombstone: why a request was withdrawn; appended later, it ends cancelled; cancel."""
    return f"{PREFIX}{{{partition}}}:withdrawn:{request_id}"


def nudge(partition: int) -> str:
    """Sharded channel. Paths of hosts that have a command now, parted by blanks: wakes held heartbeats; settle."""
    return f"{PREFIX}{{{partition}}}:nudge"


def request(request_id: str) -> str:
    """Hash, TTL 7 d. One submitted request: who asked for what, for which hosts; request_store."""
    return f"{PREFIX}{{r:{request_id}}}:request"


def request_hosts(request_id: str) -> str:
    """Hash path -> status (JSON), TTL 7 d. The request's status on each host, projected from results; project.

    A status without `command_id` is about the request's own command, one without `at` is of the moment that its
    `timeline` has for its `state`.
    """
    return f"{PREFIX}{{r:{request_id}}}:hosts"


def request_counts(request_id: str) -> str:
    """Hash, TTL 7 d. How many of a request's hosts stand where (state -> hosts), and when they began; project."""
    return f"{PREFIX}{{r:{request_id}}}:counts"


def request_index(tenant: str) -> str:
    """Sorted set, request id -> accepted at (ms), TTL 7 d. A tenant's requests, newest last; request_store."""
    return f"{PREFIX}{{t:{quote(tenant, safe='')}}}:requests"


def rollout(request_id: str) -> str:
    """Hash, TTL 7 d from its last step. How far a request that goes host by host has come; open_rollout and pace."""
    return f"{PREFIX}{{r:{request_id}}}:rollout"


def turns(request_id: str) -> str:
    """Hash path -> number of its turn, TTL 7 d. Hosts of a rollout that had their turn and have not ended; pace."""
    return f"{PREFIX}{{r:{request_id}}}:turns"


def joined(request_id: str) -> str:
    """Hash path -> number, TTL 7 d, kept while it stands. Hosts that joined a standing request later; join."""
    return f"{PREFIX}{{r:{request_id}}}:joined"


def unsent(request_id: str) -> str:
    """Hash path -> number, TTL 7 d. Hosts that were given the request and may not have it yet; pace and join."""
    return f"{PREFIX}{{r:{request_id}}}:unsent"


def open_rollouts() -> str:
    """Hash request id -> whose it is, no TTL: each goes when its last host has ended; rollouts."""
    return f"{PREFIX}{{rollouts}}:open"


def standing_requests() -> str:
    """Hash request id -> whose it is, no TTL: each goes when it is stopped or cancelled; standing."""
    return f"{PREFIX}{{standing}}:open"


def sampled(tenant: str, service: str) -> str:
    """Sorted set host -> when it was sampled last (ms), TTL 30 d. Whose turn it is; sample."""
    return f"{PREFIX}{{s:{HostKey(tenant, service, '').path}}}:sampled"


def request_rebuilt(request_id: str) -> str:
    """Hash path -> status (JSON), TTL 7 d. A status that is rebuilt beside the one that is read; project, swap."""
    return f"{PREFIX}{{r:{request_id}}}:rebuilt"


def rebuilt_counts(request_id: str) -> str:
    """Hash, TTL 7 d. What request_counts would be by the status that is rebuilt; project, taken away by swap."""
    return f"{PREFIX}{{r:{request_id}}}:rebuilt_counts"


def request_ended(request_id: str) -> str:
    """Hash path -> outcome, TTL 7 d. Where a request that somebody is to be told of has ended; outbox."""
    return f"{PREFIX}{{r:{request_id}}}:ended"


def request_notified(request_id: str) -> str:
    """Set, TTL 7 d. Ids of the notifications that were put into an outbox; outbox."""
    return f"{PREFIX}{{r:{request_id}}}:notified"


def outbox(hook: str) -> str:
    """Stream with group `senders`, TTL 7 d after the last entry. What a webhook is to be told; outbox."""
    return f"{PREFIX}{{hook:{hook}}}:outbox"


def command_owner(command_id: str) -> str:
    """String, TTL 7 d. Whose a command id is, for completions that do not say; request_store, command_store."""
    return f"{PREFIX}{{c:{command_id}}}:owner"


def session(digest: str) -> str:
    """String (JSON), TTL 12 h at most. What a sign-in at the page stands for, by its secret's SHA-256; sessions."""
    return f"{PREFIX}{{n:{digest}}}:session"


def idempotency(tenant: str, token_id: str, key: str) -> str:
    """String, TTL 24 h. What an Idempotency-Key of this token answered first; request_store."""
    digest = hashlib.sha256(f"{tenant}\0{token_id}\0{key}".encode()).hexdigest()
    return f"{PREFIX}{{i:{digest}}}:idempotency"


def token(digest: str) -> str:
    """Hash, no TTL. A bearer token by the SHA-256 of its text; token_store, rotate_token, revoke_token."""
    return f"{PREFIX}{{tokens}}:token:{digest}"


def token_ids() -> str:
    """Hash token id -> digest of its newest secret, no TTL. Which tokens there are; token_store, rotate_token."""
    return f"{PREFIX}{{tokens}}:ids"


def tokens_of(tenant: str) -> str:
    """Sorted set of `created (ms):id`, all of score 0, no TTL. A tenant's tokens by age; token_store."""
    return f"{PREFIX}{{tokens}}:of:{quote(tenant, safe='')}"


def tenants() -> str:
    """Hash tenant -> when it was made (ISO 8601), no TTL. Beside the default one, which is always there; tenants."""
    return f"{PREFIX}{{tokens}}:tenants"


def enrolments() -> str:
    """Hash id of an enrolment token -> hosts that it has enrolled, no TTL; enrol."""
    return f"{PREFIX}{{tokens}}:enrolments"


def bound_tokens() -> str:
    """Hash path of a host -> id of the credential that is its own, no TTL; enrol."""
    return f"{PREFIX}{{tokens}}:bound"


def token_changes() -> str:
    """Stream capped at 10,000. Ids of tokens that were rotated or revoked; rotate_token, revoke_token."""
    return f"{PREFIX}{{tokens}}:changes"


def tokens_used() -> str:
    """Hash token id -> last use (ms), no TTL. Told by each API process now and then; token_store."""
    return f"{PREFIX}{{tokens}}:used"


def window(name: str) -> str:
    """String, TTL 2 windows. How often a token did something in a lane (`lane/token/…`) in this window; limits."""
    return f"{PREFIX}{{l:{quote(name, safe='/')}}}:window"


def window_before(name: str) -> str:
    """String, TTL 1 window. What `window` was when the window before this one ended; limits."""
    return f"{PREFIX}{{l:{quote(name, safe='/')}}}:before"


def asked_jobs() -> str:
    """Stream with group `dispatchers`: slow work to hand to rq. Written by request_store, acked when it is done."""
    return f"{PREFIX}{{jobs}}:asked"


def schedule(schedule_id: str) -> str:
    """Hash, no TTL, deleted by an operator. A schedule and where it stands; save_schedule, settle_firing."""
    return f"{PREFIX}{{schedules}}:schedule:{schedule_id}"


def schedule_firings(schedule_id: str) -> str:
    """Hash due (s) -> firing (JSON), the last 50, gone with its schedule; take_firing, settle_firing."""
    return f"{PREFIX}{{schedules}}:firings:{schedule_id}"


def schedules_of(tenant: str) -> str:
    """Sorted set of `created (ms):id`, all of score 0. A tenant's schedules by age; save_schedule."""
    return f"{PREFIX}{{schedules}}:of:{quote(tenant, safe='')}"


def schedules_due() -> str:
    """Sorted set schedule id -> next firing (s), of those that are not paused; save_schedule, settle_firing."""
    return f"{PREFIX}{{schedules}}:due"


def firings_taken() -> str:
    """Sorted set `id:due (s)` -> taken at (ms). Firings under way, to be finished by whoever; take and settle."""
    return f"{PREFIX}{{schedules}}:taken"


def roles() -> str:
    """Sorted set `role/instance` -> last pass (ms). Who is at work; read by /readyz; roster."""
    return f"{PREFIX}{{roles}}:passes"


def archive_heads() -> str:
    """Hash `family/stream` -> the newest archived segment (JSON), no TTL. A witness for verifying; archive_heads."""
    return f"{PREFIX}{{archive}}:heads"


def lease(role: str) -> str:
    """String, TTL 30 s. The instance that works while the others of its role stand by; lease."""
    return f"{PREFIX}{{lease:{role}}}"


def role_facts() -> str:
    """Hash `role/instance` -> what it measured of itself (JSON), pruned with the passes; roster."""
    return f"{PREFIX}{{roles}}:facts"


def layout() -> str:
    """Hash, no TTL. The number of partitions, fixed at first start; connection."""
    return f"{PREFIX}{{layout}}"


def scratch(tag: str, name: str) -> str:
    """String, TTL 60 s. What a check of the deployment writes and takes away again; check_deployment."""
    return f"{PREFIX}{{check:{tag}}}:{name}"
