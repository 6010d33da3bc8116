// What we use of a library that brings no types.
declare module "d3-flame-graph" {
  import type { Selection } from "d3-selection";
  import type { Frame } from "./rules";
  export interface Data {
    name: string;
    value: number;
    frame: Frame;
    children: Data[];
  }
  export interface Node {
    data: Data;
    value: number;
    depth: number;
    highlight?: boolean;
    parent: Node | null;
    children?: Node[];
  }
  export interface Chart {
    // biome-ignore lint/suspicious/noExplicitAny: d3's own four type parameters
    (selection: Selection<any, any, any, any>): void;
    width(pixels: number): Chart;
    cellHeight(pixels: number): Chart;
    minFrameSize(pixels: number): Chart;
    transitionDuration(ms: number): Chart;
    inverted(is: boolean): Chart;
    sort(by: (a: Node, b: Node) => number): Chart;
    title(text: string): Chart;
    selfValue(is: boolean): Chart;
    tooltip(is: boolean): Chart;
    label(of: (node: Node) => string): Chart;
    setLabelHandler(of: (node: Node) => string): Chart;
    setColorMapper(of: (node: Node, original: string) => string): Chart;
    onClick(then: (node: Node) => void): Chart;
    onHover(then: (node: Node) => void): Chart;
    setSearchMatch(fits: (node: Node, term: string) => boolean): Chart;
    search(term: string): void;
    clear(): void;
    resetZoom(): void;
    zoomTo(node: Node): void;
    update(data?: unknown): void;
    destroy(): void;
  }

  export default function flamegraph(): Chart;
}
