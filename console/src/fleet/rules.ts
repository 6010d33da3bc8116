// What the fleet's page makes of hosts: filters as they stand in the address, facets with counts. Pure.
import type { CommandRow, Host } from "../api";

export interface Row extends Host {
  key: string;
  busy: boolean;
}

export interface Filters {
  q: string;
  status: string;
  service: string;
  version: string;
  profiler: string;
  busy: string;
}

export const FACETS = ["status", "service", "busy", "profiler", "version"] as const;
export type Facet = (typeof FACETS)[number];
const OPEN = new Set(["delivered", "received", "running"]);

/** Of names with numbers in them: web-2 before web-10. One for all, as `localeCompare` makes it anew for each pair. */
const { compare } = new Intl.Collator("en", { numeric: true });

/** One key for a host: the same name may stand in two services. */
export const keyOf = (host: { service_name: string; hostname: string }): string =>
  `${encodeURIComponent(host.service_name)}/${encodeURIComponent(host.hostname)}`;

/** Hosts with what each is at. */
export function rows(hosts: readonly Host[], commands: readonly CommandRow[]): Row[] {
  const busy = new Set(commands.filter((each) => each.command_type === "start" && OPEN.has(each.state)).map(keyOf));
  return hosts
    .map((host) => {
      const key = keyOf(host);
      return { ...host, key, busy: busy.has(key) };
    })
    .sort((a, b) => compare(a.hostname, b.hostname) || compare(a.service_name, b.service_name));
}

export function read(search: string): Filters {
  const said = new URLSearchParams(search);
  const one = (name: string) => said.get(name) ?? "";
  return {
    q: one("q"),
    status: one("status"),
    service: one("service"),
    version: one("version"),
    profiler: one("profiler"),
    busy: one("busy"),
  };
}

export function write(filters: Filters): string {
  return new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== "")).toString();
}

function values(row: Row, facet: Facet): readonly string[] {
  switch (facet) {
    case "status":
      return [row.status];
    case "service":
      return [row.service_name];
    case "version":
      return [row.agent_version || "unknown"];
    case "profiler":
      return row.profilers ?? [];
    case "busy":
      return [row.busy ? "busy" : "idle"];
  }
}

function fits(row: Row, filters: Filters, but?: Facet): boolean {
  const q = filters.q.trim().toLowerCase();
  if (q && !`${row.hostname}\n${row.service_name}\n${row.ip_address}`.toLowerCase().includes(q)) return false;
  return FACETS.every((facet) => facet === but || filters[facet] === "" || values(row, facet).includes(filters[facet]));
}

export const matching = (all: readonly Row[], filters: Filters): Row[] => all.filter((row) => fits(row, filters));

/** How many hosts each value of a facet would show, by the other filters; the most first. */
export function counts(all: readonly Row[], filters: Filters, facet: Facet): [string, number][] {
  const found = new Map<string, number>();
  for (const row of all) {
    if (fits(row, filters, facet))
      for (const value of values(row, facet)) found.set(value, (found.get(value) ?? 0) + 1);
  }
  if (filters[facet] !== "" && !found.has(filters[facet])) found.set(filters[facet], 0);
  return [...found].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

/** One service, as its hosts tell it. */
export interface Service {
  key: string;
  hosts: number;
  online: number;
  busy: number;
  /** Version of the agent and on how many hosts; the most first. */
  versions: [string, number][];
  profilers: string[];
  last_beat: string;
}

function grouped(all: readonly Row[], by: (row: Row) => string): Map<string, Row[]> {
  const found = new Map<string, Row[]>();
  for (const row of all) {
    const group = found.get(by(row));
    if (group) group.push(row);
    else found.set(by(row), [row]);
  }
  return found;
}

/** Services by name, of their hosts. */
export function services(all: readonly Row[]): Service[] {
  return [...grouped(all, (row) => row.service_name)]
    .map(([key, of]) => ({
      key,
      hosts: of.length,
      online: of.filter((row) => row.status === "online").length,
      busy: of.filter((row) => row.busy).length,
      versions: [...grouped(of, (row) => row.agent_version || "unknown")]
        .map(([version, some]): [string, number] => [version, some.length])
        .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])),
      profilers: [...new Set(of.flatMap((row) => row.profilers ?? []))].sort(),
      last_beat: of.reduce((last, row) => (row.last_beat > last ? row.last_beat : last), ""),
    }))
    .sort((a, b) => compare(a.key, b.key));
}

export const STANDS = { all: "all online", some: "some silent", none: "all silent" } as const;
export type Stand = keyof typeof STANDS;

export const standOf = (service: Service): Stand =>
  service.online === service.hosts ? "all" : service.online > 0 ? "some" : "none";

export const matchingServices = (all: readonly Service[], q: string, stands: string): Service[] =>
  all.filter(
    (each) => each.key.toLowerCase().includes(q.trim().toLowerCase()) && (stands === "" || standOf(each) === stands),
  );
