// Schedules: what is asked for again and again, when next, and what became of it the last times.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Fragment, useState } from "react";
import { Link } from "wouter";
import { Badge, Empty, Heads, Notice, useNow } from "../parts";
import { useRights } from "../session";
import { ago, within } from "../words";
import { change, plan, remove, type Schedule, schedule, schedules } from "./calls";
import { asked, inZone, outcome } from "./rules";

const LOOKS_MS = 20_000;

export function Schedules() {
  const found = useQuery({ queryKey: ["schedules"], queryFn: schedules, refetchInterval: LOOKS_MS });
  const { schedule: mayMake } = useRights();
  const now = useNow(1_000);
  const [open, setOpen] = useState("");
  const all = found.data ?? [];
  const error = found.error ?? found.failureReason;
  return (
    <section className="sheet" aria-label="Schedules">
      <div className="bar">
        <h1>Schedules</h1>
        <span className="dim">requests that are submitted by the clock</span>
        <span className="grow" />
        {mayMake && (
          <Link href="/new?when=schedule" className="button main">
            New schedule
          </Link>
        )}
      </div>
      {error && <Notice error={error} />}
      {found.data?.length === 0 && (
        <Empty title="Nothing is asked for by the clock">
          <p>
            A schedule profiles a service every night, say, so that there is something to compare with when it is slow.
            {mayMake ? " Make one by “New schedule”." : " An operator's token can make one."}
          </p>
        </Empty>
      )}
      {all.length > 0 && (
        <table className="wide">
          <Heads names={["Name", "Service", "When", "Stands", "Next", "Change"]} mute="Change" />
          <tbody>
            {all.map((each) => (
              <Fragment key={each.id}>
                <Row
                  schedule={each}
                  now={now}
                  isOpen={open === each.id}
                  toggle={() => setOpen(open === each.id ? "" : each.id)}
                />
                {open === each.id && (
                  <tr>
                    <td colSpan={6}>
                      <More schedule={each} now={now} />
                    </td>
                  </tr>
                )}
              </Fragment>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Row(the: { schedule: Schedule; now: number; isOpen: boolean; toggle: () => void }) {
  const { schedule: of } = the;
  const { act, schedule: mayMake } = useRights();
  const queries = useQueryClient();
  const [isSure, setSure] = useState(false);
  const onSuccess = () => queries.invalidateQueries({ queryKey: ["schedules"] });
  const turning = useMutation({ mutationFn: () => change(of.id, { enabled: of.state === "paused" }), onSuccess });
  const removing = useMutation({
    mutationFn: () => remove(of.id),
    // Taken out of what is shown, rather than asked for again: the part that tells more would be asked for too.
    onSuccess: () => queries.setQueryData<Schedule[]>(["schedules"], (all) => all?.filter((each) => each.id !== of.id)),
  });
  const error = turning.error ?? removing.error;
  return (
    <tr>
      <td>
        <button type="button" className="link" aria-expanded={the.isOpen} onClick={the.toggle}>
          {of.name}
        </button>
      </td>
      <td>{of.service_name}</td>
      <td>
        <code>{of.cron}</code>
        <div className="dim">{of.timezone}</div>
      </td>
      <td>
        <Badge state={of.state} />
        {of.reason && <div className="warn">{of.reason}</div>}
        {of.failures_in_a_row > 0 && <div className="warn">failed {of.failures_in_a_row} times in a row</div>}
      </td>
      <td title={of.next_fire_at ?? ""}>
        {of.next_fire_at && of.state === "active" ? (
          <>
            {within(of.next_fire_at, the.now)}
            <div className="dim">{inZone(of.next_fire_at, of.timezone)}</div>
          </>
        ) : (
          <span className="dim">not while it is paused</span>
        )}
      </td>
      <td className="acts">
        {error && <Notice error={error} />}
        {act && !isSure && (
          <>
            {mayMake && (
              <>
                <Link href={`/new?schedule=${of.id}`} className="button" aria-label={`Edit ${of.name}…`}>
                  Edit…
                </Link>
                <button
                  type="button"
                  aria-label={`${of.state === "paused" ? "Resume" : "Pause"} ${of.name}`}
                  disabled={turning.isPending}
                  onClick={() => turning.mutate()}
                >
                  {of.state === "paused" ? "Resume" : "Pause"}
                </button>
              </>
            )}
            <button type="button" className="danger" aria-label={`Delete ${of.name}…`} onClick={() => setSure(true)}>
              Delete…
            </button>
          </>
        )}
        {isSure && (
          <>
            <span className="warn">What it has submitted goes on.</span>
            <button type="button" className="danger" disabled={removing.isPending} onClick={() => removing.mutate()}>
              Yes, delete
            </button>
            <button type="button" onClick={() => setSure(false)}>
              No
            </button>
          </>
        )}
      </td>
    </tr>
  );
}

const OVERLAPS = { skip: "skipped while the former one is open", allow: "fires even while the former one is open" };

function More({ schedule: of, now }: { schedule: Schedule; now: number }) {
  const { schedule: mayMake } = useRights();
  const found = useQuery({ queryKey: ["schedules", of.id], queryFn: () => schedule(of.id), refetchInterval: LOOKS_MS });
  const coming = useQuery({
    queryKey: ["schedules", of.id, "plan", of.updated_at, of.next_fire_at],
    queryFn: () => plan(of.id),
    enabled: mayMake && of.state === "active",
  });
  const error = found.error ?? coming.error;
  return (
    <div className="more">
      {error && <Notice error={error} />}
      {found.data && (
        <p>
          Asks for {asked(found.data.request)}; {OVERLAPS[of.overlap]}.
          {of.pause_after > 0 && ` Paused after ${of.pause_after} failures in a row.`}
        </p>
      )}
      {coming.data && (
        <p>
          Next: {coming.data.next_firings.map((moment) => inZone(moment, of.timezone)).join(" · ")}{" "}
          <span className="dim">({of.timezone})</span>
        </p>
      )}
      {found.data && (
        <ul aria-label={`Firings of ${of.name}`}>
          {(found.data.firings ?? []).map((firing) => (
            <li key={firing.due_at}>
              {ago(firing.due_at, now)}:{" "}
              {firing.request_id ? (
                <Link href={`/requests/${firing.request_id}`}>{outcome(firing)}</Link>
              ) : (
                outcome(firing)
              )}
            </li>
          ))}
          {found.data.firings?.length === 0 && <li className="dim">It has not fired yet.</li>}
        </ul>
      )}
    </div>
  );
}
