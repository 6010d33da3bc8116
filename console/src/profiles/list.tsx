// Profiles one by one, the newest first.
import { Link } from "wouter";
import { query, type Selection } from "../flame/selection";
import { Heads } from "../parts";
import { stretch } from "../times";
import { duration } from "../words";
import type { Profile } from "./data";

const MOST_CHOSEN = 100; // the API takes no more by name

interface Props {
  rows: readonly Profile[];
  of: Selection;
  chosen: ReadonlySet<string>;
  set: (chosen: ReadonlySet<string>) => void;
  onMore: (() => void) | undefined;
  onHost: (hostname: string) => void;
}

export function List({ rows, of, chosen, set, onMore, onHost }: Props) {
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    set(next);
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <div className="scroll" tabIndex={0} role="region" aria-label="Profiles that fit">
      <table className="wide profiles">
        <Heads names={["Chosen", "Began", "Host", "Took", "Mode", "Samples", "Request"]} mute="Chosen" />
        <tbody>
          {rows.map((row) => (
            <tr key={row.profile_id}>
              <td>
                <input
                  type="checkbox"
                  aria-label={`Choose the profile of ${row.hostname} at ${row.started_at}`}
                  checked={chosen.has(row.profile_id)}
                  disabled={chosen.size >= MOST_CHOSEN && !chosen.has(row.profile_id)}
                  onChange={() => toggle(row.profile_id)}
                />
              </td>
              <td>
                <Link href={`/flamegraph?${query({ ...of, where: { ...of.where, profile_id: [row.profile_id] } })}`}>
                  {stretch(Date.parse(row.started_at), Date.parse(row.ended_at))}
                </Link>
              </td>
              <td>
                <button
                  type="button"
                  className="link"
                  title={`Only ${row.hostname}`}
                  onClick={() => onHost(row.hostname)}
                >
                  {row.hostname}
                </button>
              </td>
              <td>{duration((Date.parse(row.ended_at) - Date.parse(row.started_at)) / 1_000)}</td>
              <td>{row.profiling_mode}</td>
              <td className="number">{row.samples.toLocaleString("en")}</td>
              <td>
                {row.request_ids.map((id) => (
                  <Link key={id} href={`/requests/${id}`}>
                    {id.slice(0, 8)}
                  </Link>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {onMore && (
        <p className="inset">
          <button type="button" onClick={onMore}>
            Show more
          </button>
        </p>
      )}
    </div>
  );
}
