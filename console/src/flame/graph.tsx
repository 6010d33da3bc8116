// A flame graph with its search, its table and its exports, of whatever is selected.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { flamegraph } from "../api";
import { Notice, useWidth } from "../parts";
import { type Drawn, draw } from "./chart";
import { type Frame, matched, percent, query, type Selection, table } from "./rules";
import "./flame.css";

const FORMATS = [
  [".col", "collapsed"],
  [".pb.gz", "pprof"],
  [".speedscope.json", "speedscope"],
  [".html", "HTML"],
] as const;
const MOST_LINES = 200;
type View = "both" | "flame" | "table";

function useTree(selection: Selection, awaited: number) {
  const { service, request, start, end, mode } = selection;
  return useQuery({
    queryKey: ["flamegraph", service, request, start, end, mode, awaited],
    queryFn: () => flamegraph(selection),
    placeholderData: (before) => before,
    // A profile is among those that can be asked for a moment after its host is done; nothing is pushed of that.
    refetchInterval: (asked) => (asked.state.data?.samples === 0 ? 1_000 : false),
  });
}

export function FlameGraph(props: {
  selection: Selection;
  awaited?: number;
  term?: string;
  onTerm?: (term: string) => void;
}) {
  const { selection, awaited = 0, onTerm } = props;
  const found = useTree(selection, awaited);
  const [term, setTerm] = useState(props.term ?? "");
  const [view, setView] = useState<View>("both");
  const [at, width] = useWidth<HTMLDivElement>();
  const drawn = useRef<Drawn | undefined>(undefined);
  const zoomed = useRef<string[]>([]);
  const root = found.data?.root as Frame | undefined;
  const lines = useMemo(() => (root ? table(root) : []), [root]);
  const share = useMemo(() => (root ? matched(root, term) : 0), [root, term]);
  const searched = useRef(term);
  searched.current = term;

  useEffect(() => {
    if (at.current === null || root === undefined || root.value === 0 || width === 0) return;
    const graph = draw(at.current, root, width, zoomed.current);
    drawn.current = graph;
    if (searched.current !== "") graph.search(searched.current);
    return () => {
      zoomed.current = graph.path();
      graph.destroy();
      drawn.current = undefined;
    };
  }, [root, width, at]);
  const search = (text: string) => {
    setTerm(text);
    drawn.current?.search(text);
    onTerm?.(text);
  };
  if (found.error) return <Notice error={found.error} />;
  const wanted = term.trim().toLowerCase();
  const shown = lines.filter((line) => line.name.toLowerCase().includes(wanted));
  const total = root?.value ?? 0;
  return (
    <div className="flame">
      <div className="bar">
        <input
          type="search"
          placeholder="Search functions  ( / )"
          aria-label="Search functions"
          value={term}
          onChange={(event) => search(event.target.value)}
        />
        <span role="status">{root && wanted && `${percent(share)} matched`}</span>
        <span className="grow" />
        <span className="dim">{found.data && `${found.data.samples.toLocaleString("en")} ${found.data.unit}`}</span>
        {(["both", "flame", "table"] as const).map((each) => (
          <button type="button" key={each} aria-pressed={view === each} onClick={() => setView(each)}>
            {each}
          </button>
        ))}
        <button type="button" onClick={() => drawn.current?.reset()}>
          Reset zoom
        </button>
      </div>
      {found.data && total === 0 && (
        <p className="told" role="status">
          {awaited > 0
            ? "The profile is stored, and is being indexed: it appears here by itself."
            : "No profile of this selection is stored."}
        </p>
      )}
      <div className={`views ${view}`}>
        <div ref={at} className="graph" data-testid="graph" hidden={view === "table" || total === 0} />
        {view !== "flame" && total > 0 && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
          <div className="scroll" tabIndex={0} role="region" aria-label="Functions">
            <table className="wide">
              <thead>
                <tr>
                  <th scope="col">Function</th>
                  <th scope="col">Self</th>
                  <th scope="col">Total</th>
                </tr>
              </thead>
              <tbody>
                {shown.slice(0, MOST_LINES).map((line) => (
                  <tr key={line.name}>
                    <td>
                      <button
                        type="button"
                        className="link"
                        title={line.name}
                        onClick={() => drawn.current?.zoomToName(line.name)}
                      >
                        {line.name}
                      </button>
                    </td>
                    <td>{percent(line.self / total)}</td>
                    <td>{percent(line.total / total)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </div>
      {found.data && found.data.cut_nodes > 0 && (
        <p className="dim">
          {found.data.cut_nodes.toLocaleString("en")} of the lightest frames are left out; the exports have them.
        </p>
      )}
      <p className="dim">
        Export:{" "}
        {FORMATS.map(([ending, name]) => (
          <a key={ending} href={`/api/v1/flamegraph${ending}?${query(selection)}`} download={`flamegraph${ending}`}>
            {name}
          </a>
        ))}
      </p>
    </div>
  );
}
