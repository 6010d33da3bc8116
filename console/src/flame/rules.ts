// A flame graph's numbers: the heaviest functions, how much a search matches, addresses to ask and to link. Pure.

export interface Frame {
  name: string;
  value: number;
  children?: Frame[];
}

export interface Selection {
  service: string;
  request: string;
  start: string;
  end: string;
  mode: string;
}

export function read(search: string): Selection {
  const said = new URLSearchParams(search);
  const one = (name: string) => said.get(name) ?? "";
  return {
    service: one("service"),
    request: one("request_id"),
    start: one("start"),
    end: one("end"),
    mode: one("profiling_mode"),
  };
}

/** The query of a selection; the API and this page read the same one. */
export function query(selection: Selection): string {
  const said = {
    service: selection.service,
    start: selection.start,
    end: selection.end,
    request_id: selection.request,
    profiling_mode: selection.mode,
  };
  return new URLSearchParams(Object.entries(said).filter(([, value]) => value !== "")).toString();
}

const HOUR = 3_600_000;

/** The time in which a request's profiles began: the server asks for one, and looks at whole hours. */
export function aroundRequest(accepted: string, now: number): { start: string; end: string } {
  const hour = (at: number) => new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
  const first = Math.floor(Date.parse(accepted) / HOUR) * HOUR - HOUR;
  return { start: hour(first), end: hour(Math.min(first + 30 * 24 * HOUR, Math.ceil(now / HOUR) * HOUR + HOUR)) };
}

export interface Line {
  name: string;
  self: number;
  total: number;
}

/** Functions by their own samples. One that calls itself counts once in each stack. */
export function table(root: Frame): Line[] {
  const found = new Map<string, Line>();
  const above = new Map<string, number>();
  const walk = (frame: Frame) => {
    const line = found.get(frame.name) ?? { name: frame.name, self: 0, total: 0 };
    found.set(frame.name, line);
    const depth = above.get(frame.name) ?? 0;
    if (depth === 0) line.total += frame.value;
    line.self += frame.value - (frame.children ?? []).reduce((sum, child) => sum + child.value, 0);
    above.set(frame.name, depth + 1);
    for (const child of frame.children ?? []) walk(child);
    above.set(frame.name, depth);
  };
  for (const child of root.children ?? []) walk(child);
  return [...found.values()].sort((a, b) => b.self - a.self || b.total - a.total);
}

/** The share of all samples with a matching frame, from 0 to 1; what lies below one is not counted again. */
export function matched(root: Frame, term: string): number {
  const wanted = term.trim().toLowerCase();
  if (wanted === "" || root.value === 0) return 0;
  const sum = (frame: Frame): number =>
    frame.name.toLowerCase().includes(wanted)
      ? frame.value
      : (frame.children ?? []).reduce((all, child) => all + sum(child), 0);
  return (root.children ?? []).reduce((all, child) => all + sum(child), 0) / root.value;
}

export const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 2 : 1)} %`;
