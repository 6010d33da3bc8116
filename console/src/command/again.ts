// A request asked for again, for the hosts where it went wrong alone: with all that it asked. Pure.
import type { RequestStatus } from "../api";
import { toRetry } from "../request/rules";
import { DEFAULTS, type Entity, type Form, type Scope } from "./rules";

export interface Again {
  form: Form;
  /** What of the former request does not hold this time, in words. */
  dropped: string[];
}

const MOST_ENTITIES = 1_000;

type Asked = RequestStatus["asked"];

/** Switches that the form has, and the configuration of profilers that it has not. */
function switches(args: Record<string, unknown>): Pick<Form, "switches" | "kept" | "maxProcesses"> {
  const { profiler_configs: configs, max_processes: most, ...kept } = args;
  const known: Record<string, boolean> = {};
  const others: Record<string, unknown> = {};
  for (const [name, value] of Object.entries((configs as Record<string, unknown> | undefined) ?? {})) {
    if (value === "enabled" || value === "disabled") known[name] = value === "enabled";
    else others[name] = value;
  }
  return {
    switches: known,
    maxProcesses: most === undefined ? "" : String(most),
    kept: { ...kept, ...(Object.keys(others).length > 0 ? { profiler_configs: others } : {}) },
  };
}

/** Its workloads on these hosts: each that names no host is meant on every one of them. */
function entitiesOn(asked: Asked, hosts: readonly string[]): Entity[] {
  const meant = (asked.target_entities ?? []) as Record<string, unknown>[];
  const found = meant.flatMap((each) => {
    const said = Object.fromEntries(Object.entries(each).map(([name, value]) => [name, String(value)]));
    if (each.hostname !== undefined) return hosts.includes(String(each.hostname)) ? [said] : [];
    return hosts.map((hostname) => ({ ...said, hostname }));
  });
  return found.slice(0, MOST_ENTITIES);
}

/** The form of a request that asks the same of the hosts where it went wrong. */
export function again(status: RequestStatus): Again {
  const asked = status.asked;
  const hosts = toRetry(status.hosts);
  const text = (value: unknown) => (value === undefined || value === null ? "" : String(value));
  const number = (value: unknown, otherwise: number) => (typeof value === "number" ? value : otherwise);
  const scope = (asked.target_scope ?? "host") as Scope;
  const isResolved = scope !== "host" && scope !== "service";
  const failed = status.hosts.filter((host) => hosts.includes(host.hostname));
  const pids = new Set(failed.map((host) => (host.pids ?? []).join(", ")));
  const isShared = pids.size <= 1;
  const form: Form = {
    ...DEFAULTS,
    command: asked.command_type === "stop" ? "stop" : "start",
    service: status.service_name,
    scope: isResolved ? scope : "host",
    hosts,
    entities: isResolved ? entitiesOn(asked, hosts) : DEFAULTS.entities,
    // The server's own defaults, which are not the form's.
    duration: number(asked.duration, 60),
    frequency: number(asked.frequency, 11),
    mode: text(asked.profiling_mode) || "cpu",
    continuous: asked.continuous === true,
    pids: isResolved || !isShared ? "" : ([...pids][0] ?? ""),
    pidsByHost:
      isResolved || isShared ? null : Object.fromEntries(failed.map((host) => [host.hostname, host.pids ?? null])),
    stopLevel: (text(asked.stop_level) || "") as Form["stopLevel"],
    priority: (text(asked.priority) || "normal") as Form["priority"],
    expiresIn: number(asked.expires_in, DEFAULTS.expiresIn),
    maxConcurrency: text(asked.max_concurrency),
    maxErrors: text(asked.max_errors),
    ...switches((asked.additional_args as Record<string, unknown> | undefined) ?? {}),
  };
  const dropped: string[] = [];
  if (asked.sample !== undefined)
    dropped.push("it was for a sample: this time every host where it went wrong is meant");
  if (asked.start_at !== undefined) dropped.push("its moment to start has passed: this time it starts at once");
  return { form, dropped };
}
