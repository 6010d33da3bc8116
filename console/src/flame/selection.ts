// Which profiles are meant, and what they are compared with, as the address says it: in the API's own words. Pure.

export const FIELDS = [
  "profiling_mode",
  "hostname",
  "runtime",
  "process",
  "container",
  "pod",
  "request_id",
  "command_id",
  "capture_id",
  "profile_id",
] as const;
export type Field = (typeof FIELDS)[number];
export type Where = Partial<Record<Field, readonly string[]>>;

export interface Selection {
  service: string;
  start: string;
  end: string;
  where: Where;
}

/** Of a base: what is unsaid is as in the selection. */
export const BASE = "base_";
export const NOTHING: Selection = { service: "", start: "", end: "", where: {} };

/** A selection out of an address; with `BASE`, the base's part of it. */
export function read(search: string, prefix = ""): Selection {
  const said = new URLSearchParams(search);
  const one = (name: string) => said.get(prefix + name) ?? "";
  const where: Where = {};
  for (const field of FIELDS) {
    const values = said.getAll(prefix + field).filter((value) => value !== "");
    if (values.length > 0) where[field] = values;
  }
  return { service: one("service"), start: one("start"), end: one("end"), where };
}

/** What the API is asked, and what stands in an address: pairs of names and values. */
export function pairs(selection: Selection, prefix = ""): [string, string][] {
  const { service, start, end, where } = selection;
  const told = Object.entries({ service, start, end }).filter(([, value]) => value !== "");
  const chosen = FIELDS.flatMap((field) => (where[field] ?? []).map((value): [string, string] => [field, value]));
  return [...told, ...chosen].map(([name, value]) => [prefix + name, value] as [string, string]);
}

export const query = (selection: Selection, base: Selection = NOTHING): string =>
  new URLSearchParams([...pairs(selection), ...pairs(base, BASE)]).toString();

/** The same as an object with a list for each field, as the API's client takes it. */
export const asked = ({ service, start, end, where }: Selection) => ({
  service,
  start,
  end,
  ...(where as Record<Field, string[]>),
});

export const isWhole = (selection: Selection): boolean =>
  [selection.service, selection.start, selection.end].every((said) => said !== "");
export const isSaid = (base: Selection): boolean => pairs(base).length > 0;

/** What a base comes to, with what is as in the selection. */
export const based = (selection: Selection, base: Selection): Selection => ({
  service: base.service || selection.service,
  start: base.start || selection.start,
  end: base.end || selection.end,
  where: { ...selection.where, ...base.where },
});

export const iso = (at: number): string => new Date(at).toISOString().replace(/\.\d+Z$/, "Z");

/** The same for a time that ended `by` milliseconds earlier; without it, the period just before, of equal length. */
export function earlier(selection: Selection, by?: number): Selection {
  const [start, end] = [Date.parse(selection.start), Date.parse(selection.end)];
  const back = by ?? end - start;
  return { ...NOTHING, start: iso(start - back), end: iso(end - back) };
}

/** The selection and its base, the other way round. */
export const swapped = (selection: Selection, base: Selection): [Selection, Selection] => [
  based(selection, base),
  selection,
];

const HOUR = 3_600_000;

/** The time in which a request's profiles began: the server asks for one, and looks at whole hours. */
export function aroundRequest(accepted: string, now: number): { start: string; end: string } {
  const first = Math.floor(Date.parse(accepted) / HOUR) * HOUR - HOUR;
  return { start: iso(first), end: iso(Math.min(first + 30 * 24 * HOUR, Math.ceil(now / HOUR) * HOUR + HOUR)) };
}

/** What a request has left. */
export const ofRequest = (
  request: { service_name: string; request_id: string; accepted_at: string },
  now: number,
): Selection => ({
  service: request.service_name,
  ...aroundRequest(request.accepted_at, now),
  where: { request_id: [request.request_id] },
});

const NAMES: Record<Field, [one: string, many: string]> = {
  profiling_mode: ["", "modes"],
  hostname: ["host", "hosts"],
  runtime: ["runtime", "runtimes"],
  process: ["process", "processes"],
  container: ["container", "containers"],
  pod: ["pod", "pods"],
  request_id: ["request", "requests"],
  command_id: ["command", "commands"],
  capture_id: ["capture", "captures"],
  profile_id: ["profile", "profiles"],
};

/** What narrows a selection, in words. */
export function narrowed({ where }: Selection): string[] {
  return FIELDS.flatMap((field) => {
    const values = where[field] ?? [];
    const [one, many] = NAMES[field];
    if (values.length === 0) return [];
    return [values.length === 1 ? `${one} ${values[0]}`.trim() : `${values.length} ${many}`];
  });
}
