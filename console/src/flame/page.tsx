// A flame graph by itself: its address is its selection, its base and how it is looked at, to be sent to somebody.
import { useMemo, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { Empty } from "../parts";
import { stretch } from "../times";
import { Compare } from "./compare";
import { FlameGraph } from "./graph";
import { BASE, based, isSaid, isWhole, narrowed, NOTHING, query, read, type Selection, swapped } from "./selection";
import { readView, type View, writeView } from "./view";

const address = (of: Selection, base: Selection, view: View): string =>
  `/flamegraph?${[query(of, base), writeView(view)].filter((part) => part !== "").join("&")}`;

export function Flame() {
  const search = useSearch();
  const [, go] = useLocation();
  const { of, base, view } = useMemo(
    () => ({ of: read(search), base: read(search, BASE), view: readView(search) }),
    [search],
  );
  // The same object while the same is meant: a search that is typed asks for nothing anew.
  const key = query(of, base);
  const meant = useMemo(() => ({ of: read(key), base: read(key, BASE) }), [key]);
  if (!isWhole(of))
    return (
      <Empty title="Nothing is selected">
        <p>
          Choose <Link href="/profiles">profiles</Link>, or open the flame graph of a{" "}
          <Link href="/requests">request</Link>.
        </p>
      </Empty>
    );
  const isOfTwo = isSaid(base);
  const compare = (next: Selection) => go(address(of, next, { ...view, zoom: "" }));
  return (
    <section aria-label="Flame graph">
      <div className="bar">
        <h1>{isOfTwo ? `Two flame graphs of ${of.service}, compared` : `Flame graph of ${of.service}`}</h1>
        <span className="grow" />
        {of.where.request_id?.length === 1 && <Link href={`/requests/${of.where.request_id[0]}`}>Its request</Link>}
        <Link href={`/profiles?${query(of)}`}>Its profiles</Link>
        {isOfTwo && (
          <>
            <button
              type="button"
              onClick={() => go(address(...swapped(of, base), { ...view, zoom: "" }))}
              title="The base becomes what is compared with the other"
            >
              Swap
            </button>
            <button type="button" onClick={() => compare(NOTHING)}>
              Stop comparing
            </button>
          </>
        )}
        <Compare key={key} of={of} onBase={compare} />
        <CopyLink />
      </div>
      <dl className="meant">
        <Meant name={isOfTwo ? "Now" : "Of"} selection={of} />
        {isOfTwo && <Meant name="Base" selection={based(of, base)} />}
      </dl>
      <FlameGraph
        selection={meant.of}
        base={meant.base}
        view={view}
        onView={(next) => go(address(of, base, next), { replace: next.q !== view.q })}
      />
    </section>
  );
}

function Meant({ name, selection }: { name: string; selection: Selection }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        {[
          selection.service,
          // A request is of its own time; what is looked through for it is wider than that.
          ...(selection.where.request_id ? [] : [stretch(Date.parse(selection.start), Date.parse(selection.end))]),
          ...narrowed(selection),
        ].join(" · ")}
      </dd>
    </>
  );
}

/** The clipboard is there over TLS and on this machine alone; elsewhere the address bar has the same. */
function CopyLink() {
  const [said, setSaid] = useState("Copy link");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      setSaid("Copied");
    } catch {
      setSaid("Copy it from the address bar");
    }
    setTimeout(() => setSaid("Copy link"), 4_000);
  };
  return (
    <button type="button" onClick={copy}>
      {said}
    </button>
  );
}
