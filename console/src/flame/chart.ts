// The library's flame graph with what it lacks: a focus that keys move, names for screen readers, a zoom that lasts.
import flamegraph, { type Chart, type Node } from "d3-flame-graph";
import { select } from "d3-selection";
import { type Frame, percent } from "./rules";

export interface Drawn {
  search(term: string): void;
  reset(): void;
  zoomToName(name: string): void;
  destroy(): void;
  path(): string[];
}

const FRAME = "g.frame";
const dataOf = (element: Element): Node | undefined => (element as unknown as { __data__?: Node }).__data__;

/** A colour by name: the same function has the same one in every graph, and black is read on all of them. */
export function colour(name: string): string {
  let hash = 0;
  for (let at = 0; at < name.length; at++) hash = (hash * 31 + name.charCodeAt(at)) | 0;
  return `hsl(${12 + (Math.abs(hash) % 46)} 80% ${66 + (Math.abs(hash >> 8) % 12)}%)`;
}

export function draw(at: HTMLElement, root: Frame, width: number, zoomed: readonly string[]): Drawn {
  at.replaceChildren();
  const chart: Chart = flamegraph()
    .width(width)
    .cellHeight(20)
    .minFrameSize(1)
    .transitionDuration(0)
    .inverted(true)
    .title("")
    .sort(true)
    .setLabelHandler(
      (node) => `${node.data.name}: ${node.data.value.toLocaleString("en")} (${percent(node.data.value / root.value)})`,
    )
    .setSearchMatch((node, term) => node.depth > 0 && node.data.name.toLowerCase().includes(term.toLowerCase()))
    .setColorMapper((node) => (node.highlight ? "hsl(300 85% 72%)" : colour(node.data.name)))
    .onClick((node) => {
      path = namesOf(node);
      dress();
    });
  let path: string[] = [];
  select(at).datum(root).call(chart);
  const whole = select(at).datum() as unknown as Node;

  const frames = () => [...at.querySelectorAll(FRAME)];
  const dress = () => {
    const svg = at.querySelector("svg");
    svg?.setAttribute("role", "group");
    svg?.setAttribute("aria-label", "Flame graph; arrows move among frames, Enter zooms");
    for (const element of frames()) {
      const node = dataOf(element);
      element.setAttribute("tabindex", node === whole ? "0" : "-1");
      element.setAttribute("role", "button");
      element.setAttribute(
        "aria-label",
        node === undefined ? "" : `${node.data.name}, ${percent(node.data.value / root.value)}`,
      );
    }
  };
  const focus = (node: Node | null | undefined) => {
    const element = node && frames().find((each) => dataOf(each) === node);
    if (element) (element as SVGGElement).focus();
  };
  const press = (event: KeyboardEvent) => {
    const element = (event.target as Element).closest(FRAME);
    const node = element === null ? undefined : dataOf(element);
    if (element === null || node === undefined) return;
    const beside = (node.parent?.children ?? [node]).toSorted((a, b) => a.data.name.localeCompare(b.data.name));
    const next: Record<string, Node | null | undefined> = {
      ArrowUp: node.parent,
      ArrowDown: node.children?.toSorted((a, b) => b.data.value - a.data.value)[0],
      ArrowLeft: beside[beside.indexOf(node) - 1],
      ArrowRight: beside[beside.indexOf(node) + 1],
    };
    if (event.key === "Enter" || event.key === " ") element.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    else if (event.key in next) focus(next[event.key]);
    else return;
    event.preventDefault();
    if (event.key === "Enter" || event.key === " ") focus(node);
  };
  at.addEventListener("keydown", press);
  const zoom = (node: Node) => {
    path = namesOf(node);
    chart.zoomTo(node);
    dress();
  };
  let node: Node | undefined = whole;
  for (const name of zoomed) node = node?.children?.find((child) => child.data.name === name);
  if (zoomed.length > 0 && node !== undefined) zoom(node);
  dress();
  return {
    search(term) {
      if (term.trim() === "") chart.clear();
      else chart.search(term.trim());
      dress();
    },
    reset() {
      path = [];
      chart.resetZoom();
      dress();
    },
    zoomToName(name) {
      const waiting = [whole];
      let best: Node | undefined;
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (next.data.name === name && (best === undefined || next.data.value > best.data.value)) best = next;
        waiting.push(...(next.children ?? []));
      }
      if (best !== undefined) zoom(best);
    },
    destroy() {
      at.removeEventListener("keydown", press);
      at.replaceChildren();
    },
    path: () => path,
  };
}

function namesOf(node: Node): string[] {
  const names: string[] = [];
  for (let at: Node | null = node; at !== null && at.parent !== null; at = at.parent) names.unshift(at.data.name);
  return names;
}
