// Functions in a table: of one selection by their weight, of two by how they have changed.
import { useMemo, useState } from "react";
import { type Change, change, gained, inOrder, type Line, percent } from "./rules";

const MOST_LINES = 200;
const CLASSES = ["shrunk", "", "grown"];

interface Props<T> {
  lines: readonly T[];
  term: string;
  onName: (name: string) => void;
  /** Put the function between its callers and callees; undefined: not here. */
  onCalls?: (name: string) => void;
  chosen?: string;
}

export function FunctionTable({ total, ...props }: Props<Line> & { total: number }) {
  const [by, setBy] = useState<"self" | "total">("self");
  const lines = useMemo(() => inOrder(props.lines, by), [props.lines, by]);
  const heads = (["self", "total"] as const).map((each) => (
    <th scope="col" key={each} aria-sort={by === each ? "descending" : "none"}>
      <button type="button" className="link" onClick={() => setBy(each)}>
        {each === "self" ? "Self" : "Total"}
        {by === each && <span aria-hidden="true"> ↓</span>}
      </button>
    </th>
  ));
  return (
    <Lines {...props} lines={lines} heads={heads}>
      {(line) => (
        <>
          <td>{percent(line.self / total)}</td>
          <td>{percent(line.total / total)}</td>
        </>
      )}
    </Lines>
  );
}

export function ChangeTable(props: Props<Change>) {
  const heads = ["Base", "Now", "Change"].map((each) => (
    <th scope="col" key={each} title="of the samples in the function itself">
      {each}
    </th>
  ));
  return (
    <Lines {...props} first="Function, itself" heads={heads}>
      {(line) => (
        <>
          <td>{percent(line.base)}</td>
          <td>{percent(line.now)}</td>
          <td className={CLASSES[Math.sign(gained(line)) + 1]}>{change(line)}</td>
        </>
      )}
    </Lines>
  );
}

function Lines<T extends { name: string }>({
  lines,
  term,
  onName,
  onCalls,
  chosen,
  first = "Function",
  heads,
  children,
}: Props<T> & { first?: string; heads: React.ReactNode; children: (line: T) => React.ReactNode }) {
  const wanted = term.trim().toLowerCase();
  const fit = lines.filter((line) => line.name.toLowerCase().includes(wanted));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <div className="scroll" tabIndex={0} role="region" aria-label="Functions">
      <table className="wide functions">
        <thead>
          <tr>
            <th scope="col">{first}</th>
            {heads}
          </tr>
        </thead>
        <tbody>
          {fit.slice(0, MOST_LINES).map((line) => (
            <tr key={line.name} aria-current={line.name === chosen ? "true" : undefined}>
              <td>
                <span className="name">
                  <button type="button" className="link" title={line.name} onClick={() => onName(line.name)}>
                    {line.name}
                  </button>
                  {onCalls && (
                    <button
                      type="button"
                      className="quiet"
                      title="Callers and callees"
                      aria-label={`Callers and callees of ${line.name}`}
                      onClick={() => onCalls(line.name)}
                    >
                      ⇅
                    </button>
                  )}
                </span>
              </td>
              {children(line)}
            </tr>
          ))}
        </tbody>
      </table>
      {fit.length === 0 && <p className="dim inset">No function has “{term.trim()}” in its name.</p>}
      {fit.length > MOST_LINES && (
        <p className="dim inset">and {(fit.length - MOST_LINES).toLocaleString("en")} lighter ones: search for them</p>
      )}
    </div>
  );
}
