// A flame graph by itself: its address is its selection and its search, to be sent to somebody.
import { useMemo } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { Empty } from "../parts";
import { FlameGraph } from "./graph";
import { query, read } from "./rules";

export function Flame() {
  const search = useSearch();
  const [, go] = useLocation();
  const selection = useMemo(() => read(search), [search]);
  const term = new URLSearchParams(search).get("q") ?? "";
  if (selection.service === "" || selection.start === "" || selection.end === "")
    return (
      <Empty title="Nothing is selected">
        <p>
          Open the flame graph of a <Link href="/requests">request</Link>.
        </p>
      </Empty>
    );
  return (
    <section aria-label="Flame graph">
      <div className="bar">
        <h1>Flame graph of {selection.service}</h1>
        {selection.request && <Link href={`/requests/${selection.request}`}>Its request</Link>}
        <span className="grow" />
        <button type="button" onClick={() => void navigator.clipboard.writeText(location.href)}>
          Copy link
        </button>
      </div>
      <FlameGraph
        selection={selection}
        term={term}
        onTerm={(text) =>
          go(`/flamegraph?${query(selection)}${text ? `&q=${encodeURIComponent(text)}` : ""}`, { replace: true })
        }
      />
    </section>
  );
}
