// The library of profiles: its filters as they stand in the address, the time that is meant, the chart's numbers. Pure.
import { FIELDS, type Field, iso, pairs, read as readSelection, type Selection, type Where } from "../flame/selection";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const LAST: readonly (readonly [name: string, words: string, ms: number])[] = [
  ["1h", "1 hour", HOUR],
  ["6h", "6 hours", 6 * HOUR],
  ["24h", "24 hours", DAY],
  ["7d", "7 days", 7 * DAY],
  ["30d", "30 days", 30 * DAY],
];
export const DEFAULT = "24h";
export const CPU = "cpu";
export const MODES: Record<string, string> = { [CPU]: "CPU time", wall: "wall clock", allocation: "allocations" };
/** What the server answers at once. */
export const LONGEST = 31 * DAY;

export interface Wanted {
  service: string;
  /** A time that ends now, by its name; empty: `start` and `end` say it. */
  last: string;
  start: string;
  end: string;
  where: Where;
}

export function read(search: string): Wanted {
  const { service, start, end, where } = readSelection(search);
  const said = new URLSearchParams(search).get("last") ?? "";
  const isFixed = start !== "" && end !== "";
  return {
    service,
    last: isFixed ? "" : LAST.some(([name]) => name === said) ? said : DEFAULT,
    start: isFixed ? start : "",
    end: isFixed ? end : "",
    where,
  };
}

export function write({ last, ...selection }: Wanted): string {
  const more: [string, string][] = last !== "" && last !== DEFAULT ? [["last", last]] : [];
  return new URLSearchParams([...pairs(selection), ...more]).toString();
}

/** What is meant now: of one mode, as counts of several mean different things. A time that goes on ends with the next whole minute, so that it is asked for once a minute. */
export function meant({ service, last, start, end, where: said }: Wanted, now: number): Selection {
  const where = { ...said, profiling_mode: said.profiling_mode ?? [CPU] };
  if (last === "") return { service, start, end, where };
  const until = (Math.floor(now / MINUTE) + 1) * MINUTE;
  const long = LAST.find(([name]) => name === last)?.[2] ?? DAY;
  return { service, start: iso(until - long), end: iso(until), where };
}

/** What is wrong with a time, in words; empty: nothing. */
export function fault({ start, end }: { start: string; end: string }): string {
  const long = Date.parse(end) - Date.parse(start);
  if (Number.isNaN(long)) return "Say both, from when and to when.";
  if (long <= 0) return "“To” has to be later than “From”.";
  return long > LONGEST ? "A look is at 31 days at most." : "";
}

/** A list of values as people write it: with commas or blanks. */
export const listed = (text: string): string[] => [...new Set(text.match(/[^\s,]+/g) ?? [])];

/** The filters with other values of a field; none: without it. */
export function narrowedTo(wanted: Wanted, field: Field, values: readonly string[]): Wanted {
  const where = Object.fromEntries(
    FIELDS.map((each) => [each, each === field ? values : (wanted.where[each] ?? [])]).filter(
      ([, said]) => said?.length !== 0,
    ),
  ) as Where;
  return { ...wanted, where };
}

/** The next longer time that can be looked at; undefined: there is none. */
export function wider(of: Selection): string | undefined {
  const long = Date.parse(of.end) - Date.parse(of.start);
  return LAST.find(([, , ms]) => ms > long)?.[0];
}

export interface Step {
  at: string;
  samples: number;
  profiles: number;
}

export interface Bar {
  x: number;
  width: number;
  height: number;
  step: Step;
}

/** Bars as parts of the whole, 0 to 1; the highest fills the height. */
export function bars(steps: readonly Step[]): Bar[] {
  const most = Math.max(1, ...steps.map((step) => step.samples));
  return steps.map((step, at) => ({
    x: at / steps.length,
    width: 1 / steps.length,
    height: step.samples / most,
    step,
  }));
}

/** The steps from one to another, in either order, as a time. */
export function picked(steps: readonly Step[], stepSeconds: number, one: number, other: number) {
  const [first, last] = [steps[Math.min(one, other)], steps[Math.max(one, other)]];
  if (first === undefined || last === undefined) return undefined;
  return { start: iso(Date.parse(first.at)), end: iso(Date.parse(last.at) + stepSeconds * 1_000) };
}
