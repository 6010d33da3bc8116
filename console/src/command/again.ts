// A form of what was asked for before: a request again, where it went wrong alone; a schedule, to be changed. Pure.
import type { RequestStatus } from "../api";
import { wentWrong } from "../request/rules";
import type { ScheduleView } from "../schedules/calls";
import { DEFAULTS, type Entity, type Form, type Scope } from "./rules";

export interface Again {
  form: Form;
  /** What of the former request does not hold this time, in words. */
  dropped: string[];
}

const MOST_ENTITIES = 1_000;

type Asked = RequestStatus["asked"];
type Filled = Omit<Form, "service" | "hosts" | "entities" | "pids" | "pidsByHost">;

const text = (value: unknown) => (value === undefined || value === null ? "" : String(value));
const number = (value: unknown, otherwise: number) => (typeof value === "number" ? value : otherwise);

/** What was asked, but for whom. What was not said has the server's own defaults, which are not the form's. */
function settings(asked: Asked): Filled {
  return {
    ...DEFAULTS,
    command: asked.command_type === "stop" ? "stop" : "start",
    scope: (asked.target_scope ?? "host") as Scope,
    duration: number(asked.duration, 60),
    frequency: number(asked.frequency, 11),
    mode: text(asked.profiling_mode) || "cpu",
    continuous: asked.continuous === true,
    stopLevel: (text(asked.stop_level) || "") as Form["stopLevel"],
    priority: (text(asked.priority) || "normal") as Form["priority"],
    expiresIn: number(asked.expires_in, DEFAULTS.expiresIn),
    sample: text(asked.sample),
    maxConcurrency: text(asked.max_concurrency),
    maxErrors: text(asked.max_errors),
    ...switches((asked.additional_args as Record<string, unknown> | undefined) ?? {}),
  };
}

/** The form of a schedule, with all that it says. */
export function ofSchedule(schedule: ScheduleView): Form {
  const asked = schedule.request as Asked;
  const byHost = (asked.target_hosts ?? null) as Record<string, number[] | null> | null;
  const entities = (asked.target_entities ?? []) as Record<string, unknown>[];
  return {
    ...settings(asked),
    service: schedule.service_name,
    hosts: byHost ? Object.keys(byHost) : ((asked.target_hostnames as string[] | undefined) ?? []),
    entities: entities.length > 0 ? entities.map(said) : DEFAULTS.entities,
    pids: ((asked.pids as number[] | undefined) ?? []).join(", "),
    pidsByHost: byHost,
    when: "schedule",
    name: schedule.name,
    cron: schedule.cron,
    timezone: schedule.timezone,
    overlap: schedule.overlap,
    catchUp: schedule.catch_up,
    pauseAfter: schedule.pause_after,
  };
}

const said = (entity: Record<string, unknown>): Entity =>
  Object.fromEntries(Object.entries(entity).map(([name, value]) => [name, String(value)]));

/** Arguments that the form has fields for, and the others as they are. */
function switches(args: Record<string, unknown>): Pick<Form, "switches" | "args" | "maxProcesses"> {
  const { profiler_configs: configs, max_processes: most, ...kept } = args;
  const known: Record<string, boolean> = {};
  const others: Record<string, unknown> = {};
  for (const [name, value] of Object.entries((configs as Record<string, unknown> | undefined) ?? {})) {
    if (value === "enabled" || value === "disabled") known[name] = value === "enabled";
    else others[name] = value;
  }
  const rest = { ...kept, ...(Object.keys(others).length > 0 ? { profiler_configs: others } : {}) };
  return {
    switches: known,
    maxProcesses: most === undefined ? "" : String(most),
    args: Object.keys(rest).length > 0 ? JSON.stringify(rest) : "",
  };
}

/** Its workloads on these hosts: each that names no host is meant on every one of them. */
function entitiesOn(asked: Asked, hosts: readonly string[]): Entity[] {
  const meant = (asked.target_entities ?? []) as Record<string, unknown>[];
  const named = new Set(hosts);
  const found = meant.flatMap((each) => {
    if (each.hostname !== undefined) return named.has(String(each.hostname)) ? [said(each)] : [];
    return hosts.map((hostname) => ({ ...said(each), hostname }));
  });
  return found.slice(0, MOST_ENTITIES);
}

/** The form of a request that asks the same of the hosts where it went wrong. */
export function again(status: RequestStatus): Again {
  const asked = status.asked;
  const failed = status.hosts.filter(wentWrong);
  const hosts = failed.map((host) => host.hostname);
  const scope = (asked.target_scope ?? "host") as Scope;
  const isResolved = scope !== "host" && scope !== "service";
  const pids = new Set(failed.map((host) => (host.pids ?? []).join(", ")));
  const isShared = pids.size <= 1;
  const form: Form = {
    ...settings(asked),
    service: status.service_name,
    scope: isResolved ? scope : "host",
    hosts,
    entities: isResolved ? entitiesOn(asked, hosts) : DEFAULTS.entities,
    pids: isResolved || !isShared ? "" : ([...pids][0] ?? ""),
    pidsByHost:
      isResolved || isShared ? null : Object.fromEntries(failed.map((host) => [host.hostname, host.pids ?? null])),
    sample: "",
  };
  const dropped: string[] = [];
  if (asked.sample !== undefined)
    dropped.push("it was for a sample: this time every host where it went wrong is meant");
  if (asked.start_at !== undefined) dropped.push("its moment to start has passed: this time it starts at once");
  return { form, dropped };
}
