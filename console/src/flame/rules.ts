// A flame graph's numbers: the heaviest functions, how much a search matches, what has changed. Pure.

export interface Frame {
  name: string;
  value: number;
  children?: Frame[];
  /** Of two selections compared: shares of all samples in this one and in the base, 0 to 1. */
  shares?: { now: number; base: number };
}

export interface Line {
  name: string;
  self: number;
  total: number;
}

const ROUNDING = 1e-9;

/** Functions by their own samples. One that calls itself counts once in each stack. */
export function table(root: Frame, weight: (frame: Frame) => number = (frame) => frame.value): Line[] {
  const found = new Map<string, Line>();
  const above = new Map<string, number>();
  const walk = (frame: Frame) => {
    const line = found.get(frame.name) ?? { name: frame.name, self: 0, total: 0 };
    found.set(frame.name, line);
    const depth = above.get(frame.name) ?? 0;
    if (depth === 0) line.total += weight(frame);
    const own = weight(frame) - (frame.children ?? []).reduce((sum, child) => sum + weight(child), 0);
    line.self += Math.abs(own) < ROUNDING ? 0 : own; // shares do not add up to the last digit
    above.set(frame.name, depth + 1);
    for (const child of frame.children ?? []) walk(child);
    above.set(frame.name, depth);
  };
  for (const child of root.children ?? []) walk(child);
  return inOrder([...found.values()], "self");
}

export const inOrder = (lines: readonly Line[], by: "self" | "total"): Line[] =>
  by === "self"
    ? lines.toSorted((a, b) => b.self - a.self || b.total - a.total)
    : lines.toSorted((a, b) => b.total - a.total || b.self - a.self);

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

/** Two trees in one, as the API tells them. */
export interface Both {
  name: string;
  value: number;
  base: number;
  children?: Both[];
}

/** Two selections as one tree: a frame is as wide as the mean of its two shares, whatever the number of samples. */
export function compared(root: Both): Frame {
  const [samples, baseSamples] = [root.value, root.base];
  const frame = (both: Both): Frame => {
    const now = samples === 0 ? 0 : both.value / samples;
    const base = baseSamples === 0 ? 0 : both.base / baseSamples;
    return {
      name: both.name,
      value: (now + base) / 2,
      shares: { now, base },
      children: (both.children ?? []).map(frame),
    };
  };
  return frame(root);
}

export interface Change {
  name: string;
  now: number;
  base: number;
}

/** Functions by how much the share of their own samples has changed, the most first. */
export function changes(root: Frame): Change[] {
  const now = table(root, (frame) => frame.shares?.now ?? 0);
  const base = new Map(table(root, (frame) => frame.shares?.base ?? 0).map((line) => [line.name, line.self]));
  const grown = (each: Change) => Math.abs(each.now - each.base);
  return now
    .map((line) => ({ name: line.name, now: line.self, base: base.get(line.name) ?? 0 }))
    .toSorted((a, b) => grown(b) - grown(a) || a.name.localeCompare(b.name));
}

/** What is less is noise of sampling: it is shown as no change. */
export const LEAST = 0.001;

/** How much of the larger share was gained (to 1: new) or lost (to -1: gone). */
export function gained({ now, base }: { now: number; base: number }): number {
  return Math.abs(now - base) < LEAST ? 0 : (now - base) / Math.max(now, base);
}

/** A change in words and with a sign, for whoever cannot tell the colours apart: `▲ +2.10`, in points of a percent. */
export function change({ now, base }: { now: number; base: number }): string {
  const points = (now - base) * 100;
  if (Math.abs(now - base) < LEAST) return "= 0";
  return points > 0 ? `▲ +${points.toFixed(2)}` : `▼ −${Math.abs(points).toFixed(2)}`;
}
