// One request: a bar a host over time, what became of it in words, and its flame graph from the first profile on.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { cancel, type RequestStatus, request } from "../api";
import { FlameGraph } from "../flame/graph";
import { ofRequest, query } from "../flame/selection";
import { Badge, Notice, useNow } from "../parts";
import { useMayAct } from "../session";
import { ago, count, meaning } from "../words";
import { byUrgency, groups, openIn, pieces, span, wrongIn } from "./rules";
import "./request.css";

export function RequestPage({ id }: { id: string }) {
  const found = useQuery({ queryKey: ["request", id], queryFn: () => request(id) });
  if (found.data === undefined) {
    const error = found.error ?? found.failureReason;
    return error ? <Notice error={error} /> : <p>Loading…</p>;
  }
  return <Shown status={found.data} error={found.failureReason} />;
}

function Shown({ status, error }: { status: RequestStatus; error: Error | null }) {
  const mayAct = useMayAct();
  const [, go] = useLocation();
  const [isSure, setSure] = useState(false);
  const now = useNow(1_000);
  const withdrawing = useMutation({ mutationFn: () => cancel(status.request_id), onSuccess: () => setSure(false) });
  const open = openIn(status.counts);
  const wrong = wrongIn(status.counts);
  const hasProfiles = status.hosts.some((host) => (host.samples ?? 0) > 0);
  const done = status.hosts_total - open;
  useEffect(() => {
    document.title = `${status.service_name}: ${done} of ${count(status.hosts_total, "host")} done · Performance Studio`;
  });
  const selection = ofRequest(status, now);
  return (
    <>
      <div className="bar">
        <h1>
          {status.command_type === "start" ? "Profile" : "Stop"} of {status.service_name}
        </h1>
        <Badge state={status.status} />
        <span className="dim">
          asked {ago(status.accepted_at, now)} ·{" "}
          <span role="status">
            {done.toLocaleString("en")} of {count(status.hosts_total, "host")} done
            {wrong > 0 && `, ${wrong.toLocaleString("en")} of them not well`}
          </span>
        </span>
        <span className="grow" />
        {mayAct && wrong > 0 && (
          <button type="button" onClick={() => go(`/new?again=${status.request_id}`)}>
            Retry {count(wrong, "failed host")}
          </button>
        )}
        {mayAct && open > 0 && !status.cancelled_at && (
          <button
            type="button"
            className="danger"
            disabled={withdrawing.isPending}
            onClick={() => (isSure ? withdrawing.mutate() : setSure(true))}
          >
            {isSure ? `Yes, cancel on ${count(open, "host")}` : "Cancel…"}
          </button>
        )}
      </div>
      {error && <Notice error={error} />}
      {withdrawing.error && <Notice error={withdrawing.error} />}
      <ul className="groups" aria-label="Outcomes">
        {groups(status).map((group) => (
          <li key={group.state}>
            <Badge state={group.state} /> <strong>{count(group.hosts, "host")}</strong> {meaning(group.state)}
            {group.reasons.length > 0 && (
              <ul>
                {group.reasons.slice(0, 5).map(([reason, hosts]) => (
                  <li key={reason} title={reason}>
                    {reason} <span className="dim">({count(hosts, "host")})</span>
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </ul>
      <Bars status={status} now={now} />
      {hasProfiles ? (
        <section aria-label="Flame graph">
          <div className="bar">
            <h2>Flame graph</h2>
            <span className="dim">of the hosts that are done, and growing as others come</span>
            <span className="grow" />
            <Link href={`/flamegraph?${query(selection)}`}>Open by itself</Link>
          </div>
          <FlameGraph selection={selection} awaited={status.hosts.filter((host) => (host.samples ?? 0) > 0).length} />
        </section>
      ) : (
        open > 0 && <p className="dim">The flame graph appears with the first profile.</p>
      )}
    </>
  );
}

function Bars({ status, now }: { status: RequestStatus; now: number }) {
  const whole = span(status, now);
  const shown = useMemo(() => byUrgency(status.hosts).slice(0, 200), [status.hosts]);
  return (
    <section aria-label="Hosts over time">
      <div className="bar">
        <h2>Hosts over time</h2>
        <span className="dim">{Math.round((whole[1] - whole[0]) / 1_000)} s</span>
      </div>
      <ul className="bars">
        {shown.map((host) => (
          <li key={host.hostname}>
            <span className="name" title={host.hostname}>
              {host.hostname}
            </span>
            <span
              className="track"
              role="img"
              aria-label={`${host.hostname}: ${Object.keys(host.timeline ?? {}).join(", then ")}`}
            >
              {pieces(host, whole).map((piece) => (
                <span
                  key={piece.state}
                  className={`piece ${piece.state}`}
                  title={piece.state}
                  style={{ left: `${piece.left}%`, width: `${piece.width}%` }}
                />
              ))}
            </span>
            <Badge state={host.status} />
            <span className="dim why" title={host.reason ?? ""}>
              {host.reason ?? (host.samples ? `${host.samples.toLocaleString("en")} samples` : meaning(host.status))}
            </span>
          </li>
        ))}
      </ul>
      {status.hosts_total > shown.length && (
        <p className="dim">and {(status.hosts_total - shown.length).toLocaleString("en")} more, counted above</p>
      )}
    </section>
  );
}
