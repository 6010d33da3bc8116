// A new command: for whom, what, and what it will come to before it is sent.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { hostsOf, type RequestStatus, request } from "../api";
import { useFleet } from "../fleet/data";
import type { Row } from "../fleet/rules";
import { type Chosen, kept } from "../fleet/workload-rules";
import { newKey } from "../keys";
import { Empty, Notice } from "../parts";
import { isPart, WENT_WRONG } from "../request/rules";
import { schedule } from "../schedules/calls";
import { inZone } from "../schedules/rules";
import { useRights } from "../session";
import { count } from "../words";
import { type Again, again, ofSchedule } from "./again";
import { attempt, send, type Tried } from "./calls";
import { Moment, More, Pids, What, Whom } from "./fields";
import { cost, DEFAULTS, type Entity, type Form, fault, preview } from "./rules";

function chosen(): string[] {
  try {
    const said: unknown = JSON.parse(sessionStorage.getItem("studio-targets") ?? "[]");
    return Array.isArray(said) ? said.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}

/** A request with the hosts where it went wrong, however many it has. */
async function failures(id: string): Promise<RequestStatus> {
  const status = await request(id);
  return isPart(status) ? { ...status, hosts: await hostsOf(id, WENT_WRONG) } : status;
}

export function NewCommand() {
  const { rows, error, isLoading } = useFleet();
  const { act: mayAct, schedule: mayMake } = useRights();
  const said = new URLSearchParams(useSearch());
  const former = said.get("again") ?? "";
  const asked = useQuery({
    queryKey: ["request", former, "whole"],
    queryFn: () => failures(former),
    staleTime: Number.POSITIVE_INFINITY, // what is written here is not thrown away
    enabled: mayAct && former !== "",
  });
  const old = said.get("schedule") ?? "";
  const planned = useQuery({
    queryKey: ["schedules", old],
    queryFn: () => schedule(old),
    enabled: mayMake && old !== "",
    staleTime: Number.POSITIVE_INFINITY, // what is written here is not thrown away
  });
  if (!mayAct || (old !== "" && !mayMake))
    return (
      <Empty title="Your token may look, and not ask for profiles">
        <p>An operator's token of the service may. Sign out, and sign in with one.</p>
      </Empty>
    );
  const wrong = error ?? asked.error ?? planned.error;
  if (wrong) return <Notice error={wrong} />;
  const isComing = (former !== "" && asked.data === undefined) || (old !== "" && planned.data === undefined);
  if (isLoading || isComing) return <p>Loading…</p>;
  if (rows.length === 0 && former === "" && old === "")
    return (
      <Empty title="There is no host to profile yet">
        <p>A host can be chosen once its agent has sent a heartbeat.</p>
      </Empty>
    );
  return (
    <Filled
      key={former || old}
      schedule={old}
      workloads={kept(said.get("scope") ?? "")}
      rows={rows}
      former={former}
      first={
        asked.data
          ? again(asked.data)
          : { form: planned.data ? ofSchedule(planned.data) : fresh(rows, said, mayMake), dropped: [] }
      }
    />
  );
}

/** The form as it begins: for the hosts that were chosen in the fleet, else for a service. */
function fresh(rows: readonly Row[], said: URLSearchParams, mayMake: boolean): Form {
  const keys = new Set(chosen());
  const targets = said.has("service") || said.has("scope") ? [] : rows.filter((row) => keys.has(row.key));
  const workloads = kept(said.get("scope") ?? "");
  const service =
    said.get("service") ?? workloads?.of[0]?.service ?? targets[0]?.service_name ?? rows[0]?.service_name ?? "";
  const hosts = targets.filter((row) => row.service_name === service).map((row) => row.hostname);
  return {
    ...DEFAULTS,
    service,
    hosts,
    scope: workloads?.scope ?? (hosts.length > 0 ? "host" : "service"),
    entities: workloads ? entitiesOf(workloads, service) : DEFAULTS.entities,
    when: mayMake && said.get("when") === "schedule" ? "schedule" : "now",
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
  };
}

const entitiesOf = (chosen: Chosen, service: string): Entity[] =>
  chosen.of.filter((each) => each.service === service).map((each) => each.entity);

function Filled({
  rows,
  first,
  former,
  schedule: old,
  workloads,
}: {
  rows: readonly Row[];
  first: Again;
  former: string;
  /** That is to be changed; empty: none. */
  schedule: string;
  workloads: Chosen | undefined;
}) {
  const [, go] = useLocation();
  const [form, setForm] = useState(first.form);
  const [keys] = useState(() => new Set(chosen()));
  const [isSure, setSure] = useState(false);
  const [key, setKey] = useState(newKey);
  const services = useMemo(
    () => [...new Set([...rows.map((row) => row.service_name), form.service])].sort(),
    [rows, form.service],
  );
  const ofService = rows.filter((row) => row.service_name === form.service);
  const named = new Set(form.hosts);
  const targets = form.scope === "host" ? ofService.filter((row) => named.has(row.hostname)) : ofService;
  const others =
    form.scope === "host" && !former && !old
      ? rows.filter((row) => keys.has(row.key) && row.service_name !== form.service).length
      : 0;
  const otherWorkloads =
    workloads?.scope === form.scope ? workloads.of.filter((each) => each.service !== form.service).length : 0;
  const trying = useMutation({ mutationFn: () => attempt(form, old) });
  const sending = useMutation({ mutationFn: () => send(form, key, old), onSuccess: (address) => go(address) });
  const change = (part: Partial<Form>) => {
    const next = { ...form, ...part };
    if (part.service !== undefined && !former && !old) {
      next.hosts = rows
        .filter((row) => keys.has(row.key) && row.service_name === part.service)
        .map((row) => row.hostname);
      if (next.scope === "host" && next.hosts.length === 0) next.scope = "service";
      const found = workloads?.scope === form.scope ? entitiesOf(workloads, part.service) : [];
      if (found.length > 0) next.entities = found;
    }
    if (next.command === "stop" && next.when === "later") next.when = "now";
    setForm(next);
    setSure(false);
    setKey(newKey()); // another wish is another request
    trying.reset();
    sending.reset();
  };
  const wrong = fault(form, Date.now());
  const isBusy = trying.isPending || sending.isPending;
  return (
    <form
      className="form card command"
      onSubmit={(event) => {
        event.preventDefault();
        if (wrong !== "" || isBusy) return; // not by disabling the button, which would lose the focus
        if (isSure) sending.mutate();
        else trying.mutate(undefined, { onSuccess: () => setSure(true) });
      }}
    >
      <h1>
        {former
          ? "The same again"
          : old
            ? "Change a schedule"
            : form.when === "schedule"
              ? "New schedule"
              : "New command"}
      </h1>
      {former && (
        <p className="told">
          For {count(first.form.hosts.length, "host")} where{" "}
          <Link href={`/requests/${former}`}>request {former.slice(0, 8)}</Link> went wrong, with all that it asked
          {first.dropped.length > 0 && `; but ${first.dropped.join(", and ")}`}.
        </p>
      )}
      <Whom form={form} change={change} services={services} hosts={ofService.map((row) => row.hostname)} />
      <Targets form={form} targets={targets} others={others} otherWorkloads={otherWorkloads} />
      {form.command === "start" ? (
        <What form={form} change={change} of={preview(targets)} targets={targets} />
      ) : (
        <Pids form={form} change={change} />
      )}
      <More form={form} change={change} />
      <Moment form={form} change={change} isFixed={old !== ""} />
      {old && (
        <p className="dim">What it has submitted so far goes on. From now on it fires with your token’s rights.</p>
      )}
      {wrong && <p className="warn">{wrong}</p>}
      {trying.error && <Notice error={trying.error} />}
      {sending.error && <Notice error={sending.error} />}
      {trying.data && <Judged tried={trying.data} form={form} isSure={isSure} />}
      <div className="bar">
        <button type="button" disabled={wrong !== "" || isBusy} onClick={() => trying.mutate()}>
          Dry run
        </button>
        <span className="grow" />
        <button type="submit" className={form.command === "stop" ? "danger" : "main"} disabled={wrong !== ""}>
          {isSure && trying.data ? sure(form, trying.data, old) : `${old ? "Change" : verb(form)}…`}
        </button>
      </div>
    </form>
  );
}

const verb = (form: Form) => (form.when === "schedule" ? "Schedule" : form.command === "stop" ? "Stop" : "Profile");

const sure = (form: Form, tried: Tried, old: string) =>
  tried.hosts === null
    ? `Yes, ${old ? "change" : "schedule"} it`
    : `Yes, ${verb(form).toLowerCase()} ${count(tried.hosts, "host")}`;

function Targets(the: { form: Form; targets: readonly Row[]; others: number; otherWorkloads: number }) {
  const { form, targets, others, otherWorkloads } = the;
  const of = preview(targets);
  const isResolved = form.scope !== "host" && form.scope !== "service";
  const total = form.scope === "host" ? form.hosts.length : of.hosts;
  return (
    <p className="told" data-testid="preview">
      {isResolved ? (
        <>
          Found on the <strong>{count(of.online, "host")}</strong> of the service that are online: a dry run says on how
          many.
        </>
      ) : (
        <>
          <strong>{count(total, "host")}</strong>, {of.online} online, {of.busy} busy
          {of.online < total && form.when !== "schedule" && (
            <span className="warn">
              {" "}
              · {count(total - of.online, "host")} offline:{" "}
              {form.scope === "service"
                ? "only those that are online are meant"
                : "it must begin in time there, or expires"}
            </span>
          )}
          {of.busy > 0 && form.command === "start" && (
            <span className="warn">
              {" "}
              · busy hosts run both together where the mode is the same, else one after the other
            </span>
          )}
        </>
      )}
      {otherWorkloads > 0 && (
        <span className="dim"> · a request is for one service; {otherWorkloads} that were chosen are of another</span>
      )}
      {others > 0 && (
        <span className="dim"> · a request is for one service; {count(others, "chosen host")} of another</span>
      )}
    </p>
  );
}

function Judged({ tried, form, isSure }: { tried: Tried; form: Form; isSure: boolean }) {
  return (
    <p className="told" role="status">
      {tried.hosts === null
        ? `Valid; nothing was changed. It would fire ${tried.next.map((at) => inZone(at, form.timezone)).join(" · ")}.`
        : `Valid for ${count(tried.hosts, "host")}; nothing was changed.`}{" "}
      {isSure && tried.hosts !== null && <strong>{cost(form, tried.hosts)}</strong>} {tried.warnings.join(" ")}
    </p>
  );
}
