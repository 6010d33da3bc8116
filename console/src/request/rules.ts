// A request on its hosts: what is over, what went wrong, and where each bar lies in time. Pure.
import type { OnHost, RequestStatus } from "../api";

const OPEN = new Set(["submitted", "queued", "pending", "delivered", "received", "running"]);
export const WENT_WRONG: OnHost["status"][] = ["failed", "expired", "timed_out", "lost", "undeliverable"];
const WRONG: ReadonlySet<string> = new Set(WENT_WRONG);

export const isOpen = (state: string): boolean => OPEN.has(state);

/** Hosts to try again: those where it went wrong, and no others. */
export const wentWrong = (host: OnHost): boolean => WRONG.has(host.status);

type Counts = RequestStatus["counts"];

/** How many hosts stand in a state that is so; of all, also where not all are told one by one. */
const counted = (counts: Counts, is: (state: string) => boolean): number =>
  Object.entries(counts).reduce((sum, [state, hosts]) => sum + (is(state) ? hosts : 0), 0);

export const openIn = (counts: Counts): number => counted(counts, isOpen);
export const wrongIn = (counts: Counts): number => counted(counts, (state) => WRONG.has(state));

/** What one came to see first: where it went wrong, then what is under way. */
const rank = (state: string) => (WRONG.has(state) ? 0 : OPEN.has(state) ? 1 : 2);

/** So many are seen at a glance, and stay where they are. */
const FEW = 10;

export const byUrgency = (hosts: readonly OnHost[]): readonly OnHost[] =>
  hosts.length <= FEW ? hosts : [...hosts].sort((a, b) => rank(a.status) - rank(b.status));

/** In how many seconds the first of the runs that are under way will be over; undefined: none is, or it goes on. */
export function leftOf(status: Pick<RequestStatus, "asked" | "hosts">, now: number): number | undefined {
  const { continuous, duration } = status.asked as { continuous?: boolean; duration?: number };
  if (continuous || duration === undefined) return undefined;
  let first: number | undefined;
  for (const host of status.hosts) {
    const began = host.timeline?.running;
    if (host.status !== "running" || began === undefined) continue;
    const ends = Date.parse(began) + duration * 1_000;
    if (first === undefined || ends < first) first = ends;
  }
  return first === undefined ? undefined : Math.max(0, (first - now) / 1_000);
}

/** What a result's path begins with once the server has the profile. */
const STORED = "/api/v1/profiles/";

/** Whether a host's profile is somewhere else than on the server: its agent does not upload, or could not. */
export const isElsewhere = (host: OnHost): boolean =>
  (host.results_path ?? "") !== "" && !host.results_path?.startsWith(STORED);

/** Whether the server has a profile of a host, or is about to. */
export const hasProfile = (host: OnHost): boolean => (host.samples ?? 0) > 0 && !isElsewhere(host);

/** Whether a request has more hosts than are told with it. */
export const isPart = (status: Pick<RequestStatus, "hosts" | "hosts_total">): boolean =>
  status.hosts_total > status.hosts.length;

/** Hosts that are told with a request, and others that were asked for; each once, as it was told last. */
export function together(told: readonly OnHost[], others: readonly OnHost[]): OnHost[] {
  const all = new Map(others.map((host) => [host.hostname, host]));
  for (const host of told) all.set(host.hostname, host);
  return [...all.values()];
}

export interface Group {
  state: string;
  hosts: number;
  reasons: [string, number][];
}

/** Counts by state, with the reasons that hosts gave; failures first, as that is what one came to see. */
export function groups(status: Pick<RequestStatus, "counts" | "hosts">): Group[] {
  return Object.entries(status.counts)
    .map(([state, hosts]) => {
      const reasons = new Map<string, number>();
      for (const host of status.hosts) {
        if (host.status === state && host.reason) reasons.set(host.reason, (reasons.get(host.reason) ?? 0) + 1);
      }
      return { state, hosts, reasons: [...reasons].sort((a, b) => b[1] - a[1]) };
    })
    .sort((a, b) => rank(a.state) - rank(b.state) || b.hosts - a.hosts);
}

export interface Piece {
  state: string;
  left: number;
  width: number;
}

/** The span that all bars share: from when it was accepted to now, or to the last that happened. */
export function span(status: Pick<RequestStatus, "accepted_at" | "hosts">, now: number): [number, number] {
  let first = Date.parse(status.accepted_at);
  let last = status.hosts.some((host) => OPEN.has(host.status)) ? now : first;
  for (const host of status.hosts) {
    for (const at of Object.values(host.timeline ?? {})) {
      const moment = Date.parse(at);
      if (moment < first) first = moment;
      if (moment > last) last = moment;
    }
  }
  return [first, Math.max(last, first + 1_000)];
}

/** A host's states one after another, in percent of the span; a state ends where the next one begins. */
export function pieces(host: OnHost, [first, last]: [number, number]): Piece[] {
  const steps = Object.entries(host.timeline ?? {})
    .map(([state, at]) => [state, Date.parse(at)] as const)
    .sort((a, b) => a[1] - b[1]);
  const share = (at: number) => ((at - first) / (last - first)) * 100;
  return steps.map(([state, at], number) => {
    const next = steps[number + 1]?.[1] ?? (OPEN.has(state) ? last : at);
    return { state, left: share(at), width: Math.max(share(next) - share(at), 0) };
  });
}
