// How a flame graph is looked at, as the address says it: whoever is sent the address sees the same. Pure.

export const SHOWN = ["both", "flame", "table", "sandwich", "speedscope"] as const;
export type Shown = (typeof SHOWN)[number];

export interface View {
  shown: Shown;
  /** The root at the bottom, and callees above it. */
  isUp: boolean;
  q: string;
  /** The function between its callers and callees. */
  fn: string;
  /** The frame that fills the width, by the mark of its path. */
  zoom: string;
}

export const PLAIN: View = { shown: "both", isUp: false, q: "", fn: "", zoom: "" };

export function readView(search: string): View {
  const said = new URLSearchParams(search);
  const shown = said.get("view") as Shown;
  return {
    shown: SHOWN.includes(shown) ? shown : "both",
    isUp: said.get("root") === "bottom",
    q: said.get("q") ?? "",
    fn: said.get("function") ?? "",
    zoom: said.get("zoom") ?? "",
  };
}

/** What is not as it is by default. */
export function writeView(view: View): string {
  const said = {
    view: view.shown === "both" ? "" : view.shown,
    root: view.isUp ? "bottom" : "",
    q: view.q,
    function: view.fn,
    zoom: view.zoom,
  };
  return new URLSearchParams(Object.entries(said).filter(([, value]) => value !== "")).toString();
}

/** A short mark of a path of frames: the paths of deep stacks are longer than an address may be. 52 bits of FNV. */
export function mark(path: readonly string[]): string {
  if (path.length === 0) return "";
  let [low, high] = [0x811c9dc5, 0x9dc5811c];
  for (const char of path.join("\n")) {
    const code = char.codePointAt(0) ?? 0;
    low = Math.imul(low ^ code, 0x01000193) >>> 0;
    high = Math.imul(high ^ (code + 0x9e37), 0x85ebca6b) >>> 0;
  }
  return (high >>> 12).toString(16).padStart(5, "0") + low.toString(16).padStart(8, "0");
}

/** The path that a mark was made of; empty where no frame has it. */
export function pathOf(root: Named, zoom: string): string[] {
  if (zoom === "") return [];
  const waiting: { frame: Named; path: string[] }[] = [{ frame: root, path: [] }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next.path.length > 0 && mark(next.path) === zoom) return next.path;
    for (const frame of next.frame.children ?? []) waiting.push({ frame, path: [...next.path, frame.name] });
  }
  return [];
}

interface Named {
  name: string;
  children?: Named[];
}
