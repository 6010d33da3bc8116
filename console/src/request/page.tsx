// One request: a bar a host over time, what became of it in words, and its flame graph from the first profile on.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { cancel, hostsOf, type OnHost, type RequestStatus, request } from "../api";
import { FlameGraph } from "../flame/graph";
import { ofRequest, query } from "../flame/selection";
import { Badge, Notice, useNow } from "../parts";
import { useMayAct } from "../session";
import { ago, count, duration, meaning } from "../words";
import {
  byUrgency,
  groups,
  hasProfile,
  isElsewhere,
  isPart,
  leftOf,
  openIn,
  pieces,
  span,
  together,
  WENT_WRONG,
  wrongIn,
} from "./rules";
import "./request.css";

export function RequestPage({ id }: { id: string }) {
  const found = useQuery({ queryKey: ["request", id], queryFn: () => request(id) });
  if (found.data === undefined) {
    const error = found.error ?? found.failureReason;
    return error ? <Notice error={error} /> : <p>Loading…</p>;
  }
  return <Whole told={found.data} error={found.failureReason} />;
}

const LOOKS_MS = 5_000;

/** With each host where it went wrong, also where the request has more hosts than are told with it. */
function Whole({ told, error }: { told: RequestStatus; error: Error | null }) {
  const wrong = wrongIn(told.counts);
  const found = useQuery({
    queryKey: ["wrong", told.request_id],
    queryFn: () => hostsOf(told.request_id, WENT_WRONG),
    enabled: isPart(told) && wrong > 0,
    staleTime: Number.POSITIVE_INFINITY,
    refetchInterval: (query) => (query.state.data?.length === wrong ? false : LOOKS_MS),
  });
  const others = found.data;
  const status = useMemo(() => (others ? { ...told, hosts: together(told.hosts, others) } : told), [told, others]);
  return <Shown status={status} error={error ?? found.failureReason} />;
}

function Shown({ status, error }: { status: RequestStatus; error: Error | null }) {
  const mayAct = useMayAct();
  const [, go] = useLocation();
  const [isSure, setSure] = useState(false);
  const now = useNow(1_000);
  const withdrawing = useMutation({ mutationFn: () => cancel(status.request_id), onSuccess: () => setSure(false) });
  const open = openIn(status.counts);
  const wrong = wrongIn(status.counts);
  const samples = status.hosts.reduce((sum, host) => sum + (hasProfile(host) ? (host.samples ?? 0) : 0), 0);
  const elsewhere = status.hosts.filter(isElsewhere);
  const done = status.hosts_total - open;
  useEffect(() => {
    document.title = `${status.service_name}: ${done} of ${count(status.hosts_total, "host")} done · Performance Studio`;
  });
  const selection = ofRequest(status, now);
  const left = leftOf(status, now);
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
            <Badge state={group.state} /> <strong>{count(group.hosts, "host")}</strong>: {meaning(group.state)}
            <Reasons of={group.reasons} />
          </li>
        ))}
      </ul>
      <Bars status={status} now={now} />
      {elsewhere[0] && (
        <p className="told">
          {elsewhere.length === 1 ? "1 profile is" : `${elsewhere.length.toLocaleString("en")} profiles are`} not on
          this server: {elsewhere[0].hostname} has its own at <code>{elsewhere[0].results_path}</code>.
        </p>
      )}
      {samples > 0 ? (
        <section aria-label="Flame graph">
          <div className="bar">
            <h2>Flame graph</h2>
            <span className="dim">of the hosts that are done, and growing as others come</span>
            <span className="grow" />
            <Link href={`/flamegraph?${query(selection)}`}>Open by itself</Link>
          </div>
          <FlameGraph selection={selection} awaited={samples} />
        </section>
      ) : (
        open > 0 && (
          <p className="dim">
            The flame graph appears with the first profile
            {left !== undefined && (left > 0 ? `, in some ${duration(Math.ceil(left))}` : ", which is on its way")}.
          </p>
        )
      )}
    </>
  );
}

const MOST_REASONS = 5;

function Reasons({ of }: { of: readonly [string, number][] }) {
  const [isWhole, setWhole] = useState(false);
  if (of.length === 0) return null;
  const shown = isWhole ? of : of.slice(0, MOST_REASONS);
  return (
    <ul>
      {shown.map(([reason, hosts]) => (
        <li key={reason} title={reason}>
          {reason} <span className="dim">({count(hosts, "host")})</span>
        </li>
      ))}
      {of.length > shown.length && (
        <li>
          <button type="button" className="link" onClick={() => setWhole(true)}>
            {count(of.length - shown.length, "more reason")}
          </button>
        </li>
      )}
    </ul>
  );
}

const AT_A_TIME = 200;

function Bars({ status, now }: { status: RequestStatus; now: number }) {
  const [state, setState] = useState("");
  const [most, setMost] = useState(AT_A_TIME);
  const whole = span(status, now);
  const meant = useMemo(
    () => byUrgency(state ? status.hosts.filter((host) => host.status === state) : status.hosts),
    [status.hosts, state],
  );
  const shown = meant.slice(0, most);
  const total = state ? (status.counts[state] ?? 0) : status.hosts_total;
  const more = Math.min(meant.length - shown.length, AT_A_TIME);
  const states = Object.keys(status.counts).sort();
  return (
    <section aria-label="Hosts over time">
      <div className="bar">
        <h2>Hosts over time</h2>
        <span className="dim">{duration((whole[1] - whole[0]) / 1_000)}</span>
        {(states.length > 1 || state !== "") && (
          <select
            aria-label="Which hosts"
            value={state}
            onChange={(event) => {
              setState(event.target.value);
              setMost(AT_A_TIME);
            }}
          >
            <option value="">all {status.hosts_total.toLocaleString("en")}</option>
            {[...new Set([...states, ...(state ? [state] : [])])].map((each) => (
              <option key={each} value={each}>
                {each.replace("_", " ")} {(status.counts[each] ?? 0).toLocaleString("en")}
              </option>
            ))}
          </select>
        )}
      </div>
      <ul className="bars">
        {shown.map((host) => (
          <Bar key={host.hostname} host={host} whole={whole} />
        ))}
      </ul>
      {total > shown.length && (
        <p className="dim">
          and {(total - shown.length).toLocaleString("en")} more, counted above{" "}
          {more > 0 && (
            <button type="button" onClick={() => setMost(most + AT_A_TIME)}>
              Show {more.toLocaleString("en")} more
            </button>
          )}
        </p>
      )}
    </section>
  );
}

function Bar({ host, whole }: { host: OnHost; whole: [number, number] }) {
  const told = host.reason ?? (host.samples ? `${host.samples.toLocaleString("en")} samples` : meaning(host.status));
  return (
    <li>
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
      <span className="dim why" title={told}>
        {told}
      </span>
    </li>
  );
}
