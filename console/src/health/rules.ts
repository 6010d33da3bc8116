// What the health page makes of checks, roles and dead letters. Pure.
import { count, duration } from "../words";
import type { Letter, Readiness, Role } from "./calls";

/** What a role does, and what waits while nobody does it. */
const ROLES: Record<string, string> = {
  api: "answers agents, the page and programs",
  broker: "keeps everything; without it nothing is answered",
  setup: "registers the first tokens",
  merger: "makes commands of requests; without it they wait",
  recoverer: "takes over what a merger that died left; without it that waits",
  projector: "keeps each request's status; without it the status stands still",
  janitor: "gives up on what nobody took, and tidies; without it nothing expires",
  dispatcher: "hands on large requests and cancels; without it those wait",
  pacer: "gives turns where hosts begin one after another; without it nobody begins",
  greeter: "welcomes hosts into standing requests; without it those that join are not profiled",
  scheduler: "fires schedules; without it they are late",
  jobs: "does the long work; without it large requests and merged profiles wait",
  archiver: "writes the archive",
  notifier: "tells webhooks",
  indexer: "indexes profiles; without it new ones are not found",
};

/** What a role is for, in words; empty for one that we do not know. */
export const purpose = (role: string): string => ROLES[role] ?? "";

export interface Fault {
  name: string;
  detail: string;
}

/** What is not as it should be. */
export const faults = (told: Readiness): Fault[] =>
  Object.entries(told.checks)
    .filter(([, check]) => !check.ok)
    .map(([name, check]) => ({ name, detail: check.detail }));

const SAID: Record<Readiness["status"], string> = {
  ready: "All that is needed is at work.",
  degraded: "Requests are taken and kept; what is missing makes them wait.",
  unavailable: "Nothing can be asked for until this is mended.",
};

export const verdict = (told: Readiness): string => SAID[told.status];

export interface RoleLine {
  role: string;
  present: number;
  absent: number;
  behind: number | null;
  oldest: number | null;
  perSecond: number | null;
  passed: number;
}

/** A line a role. `behind` is the whole group's and told by each instance: it is not added up. */
export function lines(roles: readonly Role[]): RoleLine[] {
  const found = new Map<string, Role[]>();
  for (const each of roles) found.set(each.role, [...(found.get(each.role) ?? []), each]);
  const largest = (of: readonly Role[], pick: (role: Role) => number | null | undefined) =>
    of.reduce<number | null>((most, each) => {
      const value = pick(each);
      return value == null ? most : Math.max(most ?? 0, value);
    }, null);
  return [...found]
    .map(([role, all]) => {
      const present = all.filter((each) => each.present);
      const rates = present.flatMap((each) => each.items_per_second ?? []);
      return {
        role,
        present: present.length,
        absent: all.length - present.length,
        behind: largest(present, (each) => each.behind),
        oldest: largest(present, (each) => each.oldest_seconds),
        perSecond: rates.length > 0 ? rates.reduce((sum, each) => sum + each, 0) : null,
        passed: Math.min(...all.map((each) => each.last_pass_age)),
      };
    })
    .sort((a, b) => Number(a.present > 0) - Number(b.present > 0) || a.role.localeCompare(b.role));
}

/** `12 entries, the oldest for 3 s`. */
export function behind(line: RoleLine): string {
  if (line.behind === null) return "";
  if (line.behind === 0) return "nothing";
  const entries = `${line.behind.toLocaleString("en")} ${line.behind === 1 ? "entry" : "entries"}`;
  return line.oldest === null ? entries : `${entries}, the oldest for ${duration(line.oldest)}`;
}

/** What a letter is, in words. */
export function what(letter: Pick<Letter, "kind">): string {
  if (letter.kind === "command") return "A command that the agent never took";
  if (letter.kind === "doorbell") return "A host that could not be compacted";
  if (letter.kind === "notification") return "A notification that no webhook took";
  return letter.kind;
}

/** What a replay does to it. */
export function remedy(letter: Pick<Letter, "kind">): string {
  if (letter.kind === "command") return "asks for the same again, for this host, as a new request";
  if (letter.kind === "doorbell") return "has the host looked at again";
  if (letter.kind === "notification") return "sends it again";
  return "tries it again";
}

/** What was replayed, in words. */
export function replayed(done: number, refused: number): string {
  return refused === 0
    ? `Replayed ${count(done, "letter")}.`
    : `Replayed ${count(done, "letter")}; ${refused} could not be.`;
}

export interface Left {
  lane: string;
  left: number;
  of: number;
  seconds: number;
}

/** What is left in each lane, by an answer's `RateLimit-Policy` and `RateLimit`: `"reads";q=600;w=60`, `"reads";r=9;t=3`. */
export function left(policy: string | null, now: string | null): Left[] {
  const read = (text: string | null) =>
    new Map(
      [...(text ?? "").matchAll(/"([^"]+)"((?:;[a-z]+=\d+)*)/g)].map((found) => [
        found[1] as string,
        Object.fromEntries([...(found[2] ?? "").matchAll(/([a-z]+)=(\d+)/g)].map((part) => [part[1], Number(part[2])])),
      ]),
    );
  const quotas = read(policy);
  return [...read(now)].flatMap(([lane, taken]) => {
    const quota = quotas.get(lane);
    if (quota?.q === undefined || quota.w === undefined || taken.r === undefined) return [];
    return [{ lane, left: taken.r, of: quota.q, seconds: quota.w }];
  });
}
