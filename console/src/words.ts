// Facts in words.

/** Seconds as people say them: `45 s`, `3 min`, `2 h`. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** How long ago a moment was. */
export function ago(moment: string, now: number): string {
  return `${duration(Math.max(0, (now - Date.parse(moment)) / 1_000))} ago`;
}

/** `1 host`, `2 hosts`. */
export function count(number: number, what: string): string {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}

const WORDS: Record<string, string> = {
  submitted: "taken up; not compacted yet",
  queued: "waits: something else runs on the host first",
  pending: "waits for the host's next heartbeat",
  delivered: "handed out; not acknowledged yet",
  received: "the agent has it",
  running: "is being profiled",
  completed: "done",
  failed: "the agent could not do it",
  stopped: "a stop ended it",
  superseded: "a newer command took its place",
  expired: "did not begin in time; the host may be offline",
  timed_out: "began, and never said how it ended",
  lost: "the host fell silent while it had the command",
  undeliverable: "offered ten times, and never taken",
  cancelled: "withdrawn",
};

/** What a state of a request on a host means. */
export const meaning = (state: string): string => WORDS[state] ?? state;

/** How far ahead a moment lies: `in 3 min`; one that has passed is `now`. */
export function within(moment: string, now: number): string {
  const ahead = (Date.parse(moment) - now) / 1_000;
  return ahead <= 0 ? "now" : `in ${duration(ahead)}`;
}
