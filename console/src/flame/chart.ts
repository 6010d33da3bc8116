// The library's flame graph with what it lacks: a focus that keys move, names for screen readers, a zoom that lasts.
import flamegraph, { type Chart, type Node } from "d3-flame-graph";
import { select } from "d3-selection";
import { colourOf, MATCHED } from "./colours";
import type { Box } from "./picture";
import { change, type Frame, percent } from "./rules";

export interface Drawn {
  search(term: string): void;
  reset(): void;
  zoomToName(name: string): void;
  /** Of names from below the root on; empty: the root. */
  zoomTo(path: readonly string[]): void;
  boxes(): Box[];
  destroy(): void;
}

export interface Wish {
  root: Frame;
  width: number;
  /** The root at the bottom. */
  isUp: boolean;
  zoomed: readonly string[];
  label: string;
  onZoom?: (path: string[]) => void;
  /** A frame has the pointer or the focus; undefined: none. */
  onLook?: (frame: Frame | undefined) => void;
}

const FRAME = "g.frame";
const dataOf = (element: Element): Node | undefined => (element as unknown as { __data__?: Node }).__data__;

/** The frame that an element draws, or lies in. */
export function frameAt(at: Element | null): Frame | undefined {
  const element = at?.closest(FRAME);
  return element ? dataOf(element)?.data.frame : undefined;
}

/** What is written on a frame. */
const shown = (frame: Frame): string => (frame.shares ? `${change(frame.shares)} ${frame.name}` : frame.name);

/** The library writes into what it draws, and sorts by what it shows: it gets its own tree. */
function own(frame: Frame): Node["data"] {
  return { name: shown(frame), value: frame.value, frame, children: (frame.children ?? []).map(own) };
}

/** A frame in words, with its share of `whole`. */
export function inWords(frame: Frame, whole: number): string {
  if (frame.shares === undefined)
    return `${frame.name}: ${frame.value.toLocaleString("en")} (${percent(frame.value / whole)})`;
  const { base, now } = frame.shares;
  return `${shown(frame)}: ${percent(base)} → ${percent(now)}`;
}

export function draw(at: HTMLElement, wish: Wish): Drawn {
  const { root, width, isUp, zoomed, label } = wish;
  at.replaceChildren();
  const name = (node: Node) => node.data.frame.name;
  let isTold = true;
  const chart: Chart = flamegraph()
    .width(width)
    .cellHeight(20)
    .minFrameSize(1)
    .transitionDuration(0)
    .inverted(!isUp)
    .title("")
    .sort((a, b) => (name(a) < name(b) ? -1 : 1))
    .setLabelHandler((node) => inWords(node.data.frame, root.value))
    .setSearchMatch((node, term) => node.depth > 0 && name(node).toLowerCase().includes(term.toLowerCase()))
    .setColorMapper((node) => (node.highlight ? MATCHED : colourOf(node.data.frame)))
    .onHover((node) => wish.onLook?.(node.data.frame))
    .onClick((node) => {
      if (isTold) wish.onZoom?.(namesOf(node));
      dress();
    });
  select(at).datum(own(root)).call(chart);
  const whole = select(at).datum() as unknown as Node;

  const frames = () => [...at.querySelectorAll(FRAME)];
  const dress = () => {
    const svg = at.querySelector("svg");
    svg?.setAttribute("role", "group");
    svg?.setAttribute("aria-label", `${label}; arrows move among frames, Enter zooms`);
    for (const element of frames()) {
      const node = dataOf(element);
      element.setAttribute("tabindex", node === whole ? "0" : "-1");
      element.setAttribute("role", "button");
      element.setAttribute("aria-label", node === undefined ? "" : inWords(node.data.frame, root.value));
    }
  };
  const focus = (node: Node | null | undefined) => {
    const element = node && frames().find((each) => dataOf(each) === node);
    if (element) (element as SVGGElement).focus();
  };
  const press = (event: KeyboardEvent) => {
    const element = (event.target as Element).closest(FRAME);
    const node = element === null ? undefined : dataOf(element);
    if (element === null || node === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const beside = (node.parent?.children ?? [node]).toSorted((a, b) => (name(a) < name(b) ? -1 : 1));
    const heaviest = node.children?.toSorted((a, b) => b.data.value - a.data.value)[0];
    const next: Record<string, Node | null | undefined> = {
      [isUp ? "ArrowDown" : "ArrowUp"]: node.parent,
      [isUp ? "ArrowUp" : "ArrowDown"]: heaviest,
      ArrowLeft: beside[beside.indexOf(node) - 1],
      ArrowRight: beside[beside.indexOf(node) + 1],
    };
    const zooms = event.key === "Enter" || event.key === " ";
    if (zooms) element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    else if (event.key in next) focus(next[event.key]);
    else return;
    event.preventDefault();
    if (zooms) focus(node);
  };
  const look = (event: FocusEvent) => {
    const element = (event.target as Element).closest(FRAME);
    const node = element === null ? undefined : dataOf(element);
    if (node !== undefined) wish.onLook?.(node.data.frame);
  };
  at.addEventListener("keydown", press);
  at.addEventListener("focusin", look);
  const zoomTo = (path: readonly string[]) => {
    let node: Node | undefined = whole;
    for (const each of path) node = node?.children?.find((child) => name(child) === each);
    isTold = false; // who asks knows it
    if (node !== undefined) chart.zoomTo(node);
    isTold = true;
  };
  if (zoomed.length > 0) zoomTo(zoomed);
  dress();
  return {
    search(term) {
      if (term.trim() === "") chart.clear();
      else chart.search(term.trim());
      dress();
    },
    reset() {
      chart.resetZoom();
      dress();
    },
    zoomToName(wanted) {
      const waiting = [whole];
      let best: Node | undefined;
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (name(next) === wanted && (best === undefined || next.data.value > best.data.value)) best = next;
        waiting.push(...(next.children ?? []));
      }
      if (best !== undefined) chart.zoomTo(best);
    },
    zoomTo,
    boxes: () => frames().flatMap(boxOf),
    destroy() {
      at.removeEventListener("keydown", press);
      at.removeEventListener("focusin", look);
      at.replaceChildren();
    },
  };
}

function namesOf(node: Node): string[] {
  const names: string[] = [];
  for (let at: Node | null = node; at !== null && at.parent !== null; at = at.parent) names.unshift(at.data.frame.name);
  return names;
}

function boxOf(element: Element): Box[] {
  const node = dataOf(element);
  const [x, y] = (element.getAttribute("transform")?.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number);
  const rect = element.querySelector("rect");
  if (node === undefined || rect === null || x === undefined || y === undefined) return [];
  const words = element.getAttribute("aria-label") ?? "";
  return [
    {
      x,
      y,
      width: Number(rect.getAttribute("width")),
      fill: rect.getAttribute("fill") ?? "",
      label: node.data.name,
      words,
    },
  ];
}
