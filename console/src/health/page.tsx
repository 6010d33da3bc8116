// Health: whether all that is needed is at work, how far behind each role is, and what was given up on.
import { useQuery } from "@tanstack/react-query";
import { Badge, Heads, Notice, useNow } from "../parts";
import { useRights } from "../session";
import { duration } from "../words";
import { leftOver, readiness, roles } from "./calls";
import { Letters } from "./letters";
import { behind, faults, lines, purpose, verdict } from "./rules";

const LOOKS_MS = 5_000;

export function Health() {
  const told = useQuery({ queryKey: ["readiness"], queryFn: readiness, refetchInterval: LOOKS_MS });
  const rights = useRights();
  const error = told.error ?? told.failureReason;
  return (
    <div className="sheet">
      <section aria-label="Readiness">
        <div className="bar">
          <h1>Health</h1>
          {told.data && <Badge state={told.data.status} />}
          {told.data && <span className="dim">{verdict(told.data)}</span>}
        </div>
        {error && <Notice error={error} />}
        {told.data && faults(told.data).length > 0 && (
          <ul className="faults" aria-label="What is missing">
            {faults(told.data).map((fault) => (
              <li key={fault.name}>
                <strong>{fault.name}</strong>: {fault.detail}.{" "}
                {purpose(fault.name) && <span className="dim">It {purpose(fault.name)}.</span>}
              </li>
            ))}
          </ul>
        )}
      </section>
      {rights.installation && <Roles />}
      <Letters />
      <Limits />
    </div>
  );
}

function Roles() {
  const found = useQuery({ queryKey: ["roles"], queryFn: roles, refetchInterval: LOOKS_MS });
  const error = found.error ?? found.failureReason;
  return (
    <section aria-label="Roles">
      <h2>Roles</h2>
      {error && <Notice error={error} />}
      {found.data && (
        <table className="wide">
          <Heads
            names={["Role", "At work", "Waits for it", "Per second", "Last pass", "What it does"]}
            counts={["Per second", "Last pass"]}
          />
          <tbody>
            {lines(found.data.items).map((line) => (
              <tr key={line.role}>
                <th scope="row">{line.role}</th>
                <td>
                  {line.present === 0 ? <Badge state="missing" /> : line.present}
                  {line.absent > 0 && <span className="dim"> · {line.absent} silent</span>}
                </td>
                <td>{behind(line) || <span className="dim">not measured</span>}</td>
                <td className="count">
                  {line.perSecond === null ? "" : line.perSecond.toLocaleString("en", { maximumFractionDigits: 1 })}
                </td>
                <td className="count">{duration(line.passed)} ago</td>
                <td className="dim">{purpose(line.role).split(";")[0]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Limits() {
  useNow(LOOKS_MS); // answers come beside what is drawn here
  const known = leftOver();
  return (
    <section aria-label="Limits">
      <h2>Limits of this sign-in</h2>
      {known.length === 0 ? (
        <p className="dim">No answer has named one yet: what this token does is not limited, or not counted.</p>
      ) : (
        <ul className="limits">
          {known.map((each) => (
            <li key={each.lane}>
              <label>
                {each.lane}
                <meter min={0} max={each.of} low={each.of / 10} value={each.left} />
              </label>
              <span>
                {each.left.toLocaleString("en")} of {each.of.toLocaleString("en")} left
              </span>
              <span className="dim">in {duration(each.seconds)}, as the last answer said</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
