// One function between those who call it, above, and those it calls, below.
import { useQuery } from "@tanstack/react-query";
import { Notice } from "../parts";
import { calls } from "./data";
import { Frames } from "./frames";
import { type Frame, percent } from "./rules";
import { query, type Selection } from "./selection";

export function Sandwich({ of, name, term }: { of: Selection; name: string; term: string }) {
  const found = useQuery({ queryKey: ["calls", query(of), name], queryFn: () => calls(of, name) });
  if (found.error) return <Notice error={found.error} />;
  if (found.data === undefined) return <p className="dim">Loading…</p>;
  const { function: told, samples, callers, callees } = found.data;
  if (told.total === 0)
    return (
      <p className="told" role="status">
        No stack of this selection has {name}. Choose another function from the table.
      </p>
    );
  return (
    <section className="sandwich" aria-label={`Callers and callees of ${name}`}>
      <h2>{name}</h2>
      <p className="dim">
        in {percent(told.total / samples)} of all samples, itself at work in {percent(told.self / samples)}
      </p>
      <h3>Callers</h3>
      <Frames root={callers.root as unknown as Frame} isUp term={term} label={`Callers of ${name}`} testId="callers" />
      <h3>Callees</h3>
      <Frames
        root={callees.root as unknown as Frame}
        isUp={false}
        term={term}
        label={`Callees of ${name}`}
        testId="callees"
      />
    </section>
  );
}
