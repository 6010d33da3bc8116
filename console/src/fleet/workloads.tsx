// The fleet by what runs there: namespaces, workloads, pods, containers, processes; chosen ones go on to a new command.
import { useState } from "react";
import { useLocation, useSearch } from "wouter";
import { Badge, Empty, Notice } from "../parts";
import { useMayAct } from "../session";
import { ago, count } from "../words";
import { type Column, LongTable } from "./table";
import { Facet, Views } from "./views";
import { useSettled, useWorkloads } from "./workload-data";
import {
  type Asked,
  entityOf,
  type Field,
  FIELDS,
  keep,
  nameOf,
  read,
  WORKLOAD_SCOPES,
  type WorkloadRow,
  type WorkloadScope,
  write,
} from "./workload-rules";
import "./fleet.css";

const MOST_CHOSEN = 1_000;
const NAMES: Record<WorkloadScope, string> = {
  namespace: "Namespaces",
  workload: "Workloads",
  pod: "Pods",
  container: "Containers",
  process: "Processes",
};
const ONE: Record<WorkloadScope, string> = {
  namespace: "namespace",
  workload: "workload",
  pod: "pod",
  container: "container",
  process: "process",
};
const LABELS: Record<Field, string> = {
  service_name: "Service",
  namespace: "Namespace",
  workload_name: "Workload",
  pod_name: "Pod",
  container_name: "Container",
  process_name: "Process",
  hostname: "Host",
};

const many = (number: number, scope: WorkloadScope): string =>
  number === 1 ? `1 ${ONE[scope]}` : `${number.toLocaleString("en")} ${NAMES[scope].toLowerCase()}`;

export function Workloads() {
  const search = useSearch();
  const [, go] = useLocation();
  const mayAct = useMayAct();
  const asked = read(search);
  const { scope } = asked;
  const { found, rows, first } = useWorkloads(read(useSettled(write(asked))));
  const [chosen, setChosen] = useState<ReadonlyMap<string, WorkloadRow>>(new Map());
  const set = (change: Partial<Asked>) => go(`/workloads?${write({ ...asked, ...change })}`, { replace: true });
  const turn = (next: WorkloadScope) => {
    setChosen(new Map()); // a request is for one kind of thing
    set({ scope: next });
  };
  const toggle = (row: WorkloadRow) => {
    const next = new Map(chosen);
    if (!next.delete(row.key)) next.set(row.key, row);
    setChosen(next);
  };
  const start = () => {
    const of = [...chosen.values()].map((row) => ({ service: row.serviceName, entity: entityOf(row) ?? {} }));
    keep({ scope, of });
    go(`/new?scope=${scope}`);
  };
  const error = found.error ?? found.failureReason;
  const isFiltered = FIELDS.some((name) => asked[name]);
  return (
    <Views>
      <div className="split">
        <aside aria-label="Filters">
          <fieldset>
            <legend>What</legend>
            {WORKLOAD_SCOPES.map((each) => (
              <Facet
                key={each}
                name={NAMES[each]}
                number={first?.tabCounts[each]}
                isChosen={scope === each}
                choose={() => turn(each)}
              />
            ))}
          </fieldset>
          {FIELDS.map((name) => (
            <label key={name}>
              {LABELS[name]}
              <input
                type={name === "service_name" ? "search" : "text"}
                spellCheck={false}
                placeholder="any; a part is enough"
                value={asked[name] ?? ""}
                onChange={(event) => set({ [name]: event.target.value })}
              />
            </label>
          ))}
        </aside>
        <section aria-label={NAMES[scope]}>
          <div className="bar">
            <h1>{first && first.scope === scope ? many(first.totalCount, scope) : NAMES[scope]}</h1>
            <span className="dim">
              {first?.isPartial
                ? "on the first 10,000 hosts: a filter by service makes it fewer"
                : first &&
                  `on ${count(first.activeHosts, "host")} that ${first.activeHosts === 1 ? "is" : "are"} online`}
            </span>
            <span className="grow" />
            {mayAct && (
              <button
                type="button"
                className="main"
                disabled={chosen.size === 0 || chosen.size > MOST_CHOSEN}
                onClick={start}
              >
                Profile {many(chosen.size, scope)}…
              </button>
            )}
          </div>
          {chosen.size > MOST_CHOSEN && (
            <p className="warn" role="status">
              A request names {MOST_CHOSEN.toLocaleString("en")} at most. Choose what they are in: a namespace, a
              workload.
            </p>
          )}
          {error && <Notice error={error} />}
          {found.isLoading && !error && <p>Loading…</p>}
          {first && rows.length === 0 && (
            <Empty title={`No ${ONE[scope]} ${isFiltered ? "fits" : "is known"}`}>
              {isFiltered ? (
                <button type="button" onClick={() => go(`/workloads?scope=${scope}`)}>
                  Drop all filters
                </button>
              ) : (
                <p>
                  Agents tell what runs on their hosts with their first heartbeats, and again as it changes.
                  {scope !== "process" && " On hosts without containers there are processes alone."}
                </p>
              )}
            </Empty>
          )}
          {rows.length > 0 && (
            <LongTable
              label={NAMES[scope]}
              rows={rows}
              columns={COLUMNS[scope]}
              choice={
                mayAct
                  ? { chosen: new Set(chosen.keys()), toggle, name: (row) => entityOf(row) && nameOf(row) }
                  : undefined
              }
            />
          )}
          {found.hasNextPage && (
            <div className="bar after">
              <button type="button" disabled={found.isFetchingNextPage} onClick={() => found.fetchNextPage()}>
                Show more
              </button>
              <span className="dim">
                {rows.length.toLocaleString("en")} of {first?.totalCount.toLocaleString("en")} are shown
              </span>
            </div>
          )}
        </section>
      </div>
    </Views>
  );
}

type Of = Column<WorkloadRow>;
const text = (name: string, width: string, value: (row: WorkloadRow) => string | null | undefined): Of => ({
  name,
  width,
  cell: (row) => value(row) ?? "",
  hint: (row) => value(row) ?? "",
});
const number = (name: string, width: string, value: (row: WorkloadRow) => number | null | undefined): Of => ({
  name,
  width,
  cell: (row) => (value(row) ?? 0).toLocaleString("en"),
});
const service = text("Service", "minmax(6rem, 1fr)", (row) => row.serviceName);
const namespace = text("Namespace", "minmax(6rem, 1fr)", (row) => row.namespace);
const pod = text("Pod", "minmax(9rem, 2fr)", (row) => row.podName);
const container = text("Container", "minmax(7rem, 1fr)", (row) => row.containerName);
const workload = text("Workload", "minmax(9rem, 2fr)", (row) => row.workloadName);
const kind = text("Kind", "6.5rem", (row) => row.workloadKind);
const host = text("Host", "minmax(8rem, 1fr)", (row) => row.hostname);
const hosts = number("Hosts", "4rem", (row) => row.hostCount);
const pods = number("Pods", "4rem", (row) => row.podCount);
const containers = number("Containers", "5.6rem", (row) => row.containerCount);
const processes = number("Processes", "5.6rem", (row) => row.processCount);
const WORK: Record<string, string> = { pending: "pending", sent: "running" };
const work: Of = {
  name: "At work",
  width: "6rem",
  cell: (row) => {
    if (row.profilingStatus === null || row.profilingStatus === undefined) return <span className="dim">mixed</span>;
    const found = row.commandType === "start" ? WORK[row.profilingStatus] : undefined;
    return found ? <Badge state={found} /> : <span className="dim">none</span>;
  },
};
const heard: Of = {
  name: "Heard",
  width: "6.5rem",
  cell: (row, now) => (row.heartbeatTimestamp ? ago(row.heartbeatTimestamp, now) : ""),
};

const COLUMNS: Record<WorkloadScope, Of[]> = {
  namespace: [namespace, service, hosts, pods, containers, processes, work, heard],
  workload: [workload, kind, namespace, service, hosts, pods, processes, work, heard],
  pod: [pod, namespace, workload, service, hosts, containers, work, heard],
  container: [container, pod, namespace, host, service, processes, work],
  process: [
    text("Process", "minmax(8rem, 2fr)", (row) => row.processName),
    { name: "Pid", width: "5rem", cell: (row) => row.pid },
    container,
    pod,
    host,
    service,
    work,
  ],
};
