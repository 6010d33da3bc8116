// What runs in the fleet, as its page asks for it and hands it to a new command. Pure.
import type { components } from "../schema";
import { ENTITY_FIELDS, type Entity, type EntityField } from "../command/rules";

export type WorkloadRow = components["schemas"]["WorkloadRow"] & { key: string };
export type WorkloadScope = keyof typeof ENTITY_FIELDS;
export const WORKLOAD_SCOPES = Object.keys(ENTITY_FIELDS) as WorkloadScope[];

/** Filters that the address and the API have: parts of names, in any case. */
export const FIELDS = [
  "service_name",
  "namespace",
  "workload_name",
  "pod_name",
  "container_name",
  "process_name",
  "hostname",
] as const;
export type Field = (typeof FIELDS)[number];
export type Asked = { scope: WorkloadScope } & Partial<Record<Field, string>>;

export function read(search: string): Asked {
  const said = new URLSearchParams(search);
  const scope = WORKLOAD_SCOPES.find((each) => each === said.get("scope")) ?? "workload";
  // A service by its name alone is how other pages link here.
  const fields = FIELDS.map((name) => [name, said.get(name) ?? (name === "service_name" ? said.get("service") : "")]);
  return { scope, ...Object.fromEntries(fields.filter(([, value]) => value)) };
}

export const write = (asked: Asked): string =>
  new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "")).toString();

const OF_THE_ROW: Record<EntityField, (row: WorkloadRow) => string | number | null | undefined> = {
  namespace: (row) => row.namespace,
  workload_name: (row) => row.workloadName,
  pod_name: (row) => row.podName,
  container_name: (row) => row.containerName,
  process_name: (row) => row.processName,
  pid: (row) => row.pid,
  hostname: (row) => row.hostname,
};

/** What of a row a request would name; undefined where that has no name. */
export function entityOf(row: WorkloadRow): Entity | undefined {
  const scope = row.scope as WorkloadScope;
  // A process is told by its pid and host: where it runs may be told anew meanwhile.
  const fields: readonly EntityField[] =
    scope === "process" ? ["process_name", "pid", "hostname"] : ENTITY_FIELDS[scope];
  const found = fields.flatMap((name) => {
    const value = OF_THE_ROW[name](row);
    return value === null || value === undefined || value === "" ? [] : [[name, String(value)] as const];
  });
  const first = scope === "process" ? "pid" : fields[0];
  return found.some(([name]) => name === first) ? Object.fromEntries(found) : undefined;
}

/** What a row is called. */
export const nameOf = (row: WorkloadRow): string =>
  [
    row.namespace,
    row.scope === "namespace" ? "" : row.scope === "workload" ? row.workloadName : row.podName,
    row.containerName,
    row.processName,
    row.pid,
    row.hostname && `on ${row.hostname}`,
  ]
    .filter(Boolean)
    .join(" ");

const KEPT = "studio-workloads";

export interface Chosen {
  scope: WorkloadScope;
  of: { service: string; entity: Entity }[];
}

export const keep = (chosen: Chosen): void => sessionStorage.setItem(KEPT, JSON.stringify(chosen));

/** What was chosen here last, for a form of that scope. */
export function kept(scope: string): Chosen | undefined {
  const text = sessionStorage.getItem(KEPT);
  const found = text === null ? undefined : (JSON.parse(text) as Chosen); // nobody but this page writes it
  return found?.scope === scope ? found : undefined;
}
