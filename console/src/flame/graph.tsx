// A flame graph with its search, its table and its exports, of whatever is selected; of two selections, compared.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { Notice } from "../parts";
import { count } from "../words";
import { type Drawn, frameAt, inWords } from "./chart";
import { difference, flamegraph, functions } from "./data";
import { Exports } from "./exports";
import { Frames } from "./frames";
import { Legend } from "./legend";
import { type Both, changes, compared, type Frame, inOrder, matched, percent, table } from "./rules";
import { Sandwich } from "./sandwich";
import { isSaid, NOTHING, query, type Selection } from "./selection";
import { Speedscope } from "./speedscope";
import { ChangeTable, FunctionTable } from "./tables";
import { PLAIN, pathOf, SHOWN, type Shown, type View } from "./view";
import "./flame.css";

/** For so long one waits for a profile whose host says that it is done: it is uploaded and indexed, or never will be. */
const COMES_WITHIN_MS = 60_000;
const SOON_MS = 10_000;

/** How often to look for what is not there yet, so long after it was told of; false: no more. */
const again = (since: number): number | false => (since < SOON_MS ? 1_000 : since < COMES_WITHIN_MS ? 5_000 : false);

function useTree(of: Selection, base: Selection, awaited: number, told: number) {
  return useQuery({
    queryKey: ["flamegraph", query(of, base), awaited],
    queryFn: async () => {
      if (!isSaid(base)) {
        const one = await flamegraph(of);
        return { ...one, base_samples: undefined, root: one.root as unknown as Frame };
      }
      const two = await difference(of, base);
      return { ...two, root: compared(two.root as unknown as Both) };
    },
    placeholderData: (before, asked) => (asked?.queryKey[1] === query(of, base) ? before : undefined),
    // A profile is among those that can be asked for a moment after its host is done; nothing is pushed of that.
    refetchInterval: (asked) => ((asked.state.data?.samples ?? 0) < awaited ? again(Date.now() - told) : false),
  });
}

/** Functions of everything, where lighter frames are left out of the tree; else the tree says it all. */
function useLines(of: Selection, root: Frame | undefined, isCut: boolean) {
  const key = query(of);
  const whole = useQuery({
    queryKey: ["functions", key],
    queryFn: async () => [...(await functions(of, "-self")).items, ...(await functions(of, "-total")).items],
    enabled: isCut,
  });
  return useMemo(() => {
    if (whole.data === undefined) return root ? table(root) : [];
    return inOrder([...new Map(whole.data.map((line) => [line.name, line])).values()], "self");
  }, [whole.data, root]);
}

interface Props {
  selection: Selection;
  base?: Selection;
  /** So many samples are to come, by what the hosts say that are done. */
  awaited?: number;
  /** How it is looked at, where the address says so. */
  view?: View;
  onView?: (view: View) => void;
}

export function FlameGraph({ selection, base = NOTHING, awaited = 0, ...props }: Props) {
  // biome-ignore lint/correctness/useExhaustiveDependencies: since when one waits for so many
  const told = useMemo(() => Date.now(), [awaited]);
  const found = useTree(selection, base, awaited, told);
  const [own, setOwn] = useState(PLAIN);
  const view = props.view ?? own;
  const change = (part: Partial<View>) => (props.onView ?? setOwn)({ ...view, ...part });
  const drawn = useRef<Drawn | undefined>(undefined);
  const look = useRef<((frame: Frame | undefined) => void) | undefined>(undefined);
  const isOfTwo = isSaid(base);
  const root = found.data?.root;
  const isCut = (found.data?.cut_nodes ?? 0) > 0;
  const lines = useLines(selection, root, isCut && !isOfTwo);
  const grown = useMemo(() => (root && isOfTwo ? changes(root) : []), [root, isOfTwo]);
  const share = useMemo(() => (root ? matched(root, view.q) : 0), [root, view.q]);
  const total = root?.value ?? 0;
  const offered = SHOWN.filter((each) => !isOfTwo || !["sandwich", "speedscope"].includes(each));
  const shown = offered.includes(view.shown) ? view.shown : "both";
  const isDrawn = shown === "both" || shown === "flame";
  const zoomed = useMemo(() => root && pathOf(root, view.zoom).at(-1), [root, view.zoom]);
  const calls = (fn: string) => change({ shown: "sandwich", fn });
  useKeys({
    i: () => change({ isUp: !view.isUp }),
    z: () => drawn.current?.reset(),
    v: () => change({ shown: offered[(offered.indexOf(shown) + 1) % offered.length] as Shown }),
    c: (at) => {
      const frame = frameAt(at);
      if (frame && !isOfTwo) calls(frame.name);
    },
  });
  if (found.error) return <Notice error={found.error} />;
  const fn = view.fn || lines[0]?.name || "";
  const tables = isOfTwo ? (
    <ChangeTable lines={grown} term={view.q} onName={(name) => drawn.current?.zoomToName(name)} />
  ) : (
    <FunctionTable
      lines={lines}
      total={total}
      term={view.q}
      chosen={shown === "sandwich" ? fn : ""}
      onName={shown === "both" ? (name) => drawn.current?.zoomToName(name) : calls}
      onCalls={shown === "sandwich" ? undefined : calls}
    />
  );
  return (
    <div className="flame">
      <div className="bar">
        <input
          type="search"
          placeholder="Search functions  ( / )"
          aria-label="Search functions"
          value={view.q}
          onChange={(event) => change({ q: event.target.value })}
        />
        <span role="status">{root && view.q.trim() && `${percent(share)} matched`}</span>
        <span className="grow" />
        <div className="group" role="group" aria-label="What is shown">
          {offered.map((each) => (
            <button type="button" key={each} aria-pressed={shown === each} onClick={() => change({ shown: each })}>
              {each}
            </button>
          ))}
        </div>
        {isDrawn && (
          <button
            type="button"
            aria-pressed={view.isUp}
            title="i: icicle, or the root at the bottom"
            onClick={() => change({ isUp: !view.isUp })}
          >
            Root at the bottom
          </button>
        )}
        {isDrawn && zoomed && !isOfTwo && (
          <button type="button" title="c: callers and callees of the frame" onClick={() => calls(zoomed)}>
            Callers and callees
          </button>
        )}
        {isDrawn && (
          <button type="button" disabled={view.zoom === ""} onClick={() => drawn.current?.reset()}>
            Reset zoom
          </button>
        )}
      </div>
      {found.data === undefined && <p className="dim">Loading…</p>}
      {found.data && total === 0 && (
        <p className="told" role="status">
          {awaited === 0
            ? "No profile of this selection is stored. Choose a longer time or fewer filters."
            : Date.now() - told < COMES_WITHIN_MS
              ? "The profile is on its way, or being indexed: it appears here by itself."
              : "No profile has come to this server: the agent may not upload what it samples. On its host it keeps its newest."}
        </p>
      )}
      {found.data && isOfTwo && <Legend now={found.data.samples} base={found.data.base_samples ?? 0} />}
      {root && total > 0 && (
        <>
          {shown !== "sandwich" && shown !== "speedscope" && (
            <Looked
              root={root}
              tell={look}
              told={isOfTwo ? "" : count(found.data?.samples ?? 0, (found.data?.unit ?? "samples").slice(0, -1))}
            />
          )}
          <div className={`views ${shown}`}>
            {isDrawn && (
              <Frames
                root={root}
                isUp={view.isUp}
                label="Flame graph"
                term={view.q}
                zoom={view.zoom}
                drawn={drawn}
                testId="graph"
                onZoom={(zoom) => change({ zoom })}
                onLook={(frame) => look.current?.(frame)}
              />
            )}
            {shown === "sandwich" && fn && <Sandwich of={selection} name={fn} term={view.q} />}
            {shown === "speedscope" && <Speedscope of={selection} />}
            {shown !== "flame" && shown !== "speedscope" && tables}
          </div>
        </>
      )}
      {isCut && (
        <p className="dim">
          {found.data?.cut_nodes.toLocaleString("en")} of the lightest frames are not drawn; the exports have them.
        </p>
      )}
      <Exports of={selection} base={base} root={root} drawn={drawn} isDrawn={total > 0 && isDrawn} />
    </div>
  );
}

/** The frame under the pointer or the focus, in words; else how much there is. */
function Looked({
  root,
  told,
  tell,
}: {
  root: Frame;
  told: string;
  tell: React.RefObject<((frame: Frame | undefined) => void) | undefined>;
}) {
  const [frame, setFrame] = useState<Frame>();
  useEffect(() => {
    tell.current = setFrame;
    return () => {
      tell.current = undefined;
    };
  }, [tell]);
  return <p className="looked dim">{frame ? inWords(frame, root.value) : told}</p>;
}

type Act = (at: Element | null) => void;

/** Keys of the flame graph; the shell's help lists them. Two keys in a row, as `g f`, are the shell's. */
function useKeys(acts: Record<string, Act>): void {
  const last = useRef(acts);
  last.current = acts;
  useEffect(() => {
    let before = "";
    const press = (event: KeyboardEvent) => {
      const at = event.target as HTMLElement;
      const types = at.matches("input:not([type=checkbox]), textarea, select, dialog *");
      if (types || event.ctrlKey || event.metaKey || event.altKey) return;
      if (before !== "g") last.current[event.key]?.(at);
      before = event.key;
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}
