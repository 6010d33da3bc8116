// One flame graph of the library within React: drawn anew for another tree or width, and told what else changes.
import { useEffect, useRef } from "react";
import { useWidth } from "../parts";
import { type Drawn, draw, type Wish } from "./chart";
import type { Frame } from "./rules";
import { mark, pathOf } from "./view";

interface Props {
  root: Frame;
  isUp: boolean;
  label: string;
  term?: string;
  zoom?: string;
  onZoom?: (zoom: string) => void;
  onLook?: Wish["onLook"];
  drawn?: React.RefObject<Drawn | undefined>;
  testId?: string;
}

export function Frames(props: Props) {
  const { root, isUp, label, term = "", zoom = "", testId } = props;
  const [at, width] = useWidth<HTMLDivElement>();
  const own = useRef<Drawn | undefined>(undefined);
  const drawn = props.drawn ?? own;
  const last = useRef(props);
  last.current = props;
  const shown = useRef("");

  useEffect(() => {
    if (at.current === null || root.value === 0 || width === 0) return;
    const { term: sought = "", zoom: wanted = "", drawn: given } = last.current;
    const to = given ?? own;
    shown.current = wanted;
    const graph = draw(at.current, {
      root,
      width,
      isUp,
      label,
      zoomed: pathOf(root, wanted),
      onLook: (frame) => last.current.onLook?.(frame),
      onZoom: (path) => {
        shown.current = mark(path);
        last.current.onZoom?.(shown.current);
      },
    });
    to.current = graph;
    if (sought !== "") graph.search(sought);
    return () => {
      graph.destroy();
      to.current = undefined;
    };
  }, [root, width, isUp, label, at]);
  useEffect(() => drawn.current?.search(term), [term, drawn]);
  useEffect(() => {
    if (zoom === shown.current) return;
    shown.current = zoom;
    drawn.current?.zoomTo(pathOf(root, zoom));
  }, [zoom, root, drawn]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: that the pointer left is no act
    <div
      ref={at}
      className={isUp ? "graph up" : "graph"}
      data-testid={testId}
      onMouseLeave={() => props.onLook?.(undefined)}
    />
  );
}
