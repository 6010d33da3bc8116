// What the form makes: the body of a request, and what is said before it is sent. Pure.
import type { Wish } from "../api";
import type { Row } from "../fleet/rules";
import { count, duration } from "../words";

export const SCOPES = ["host", "service", "namespace", "workload", "pod", "container", "process"] as const;
export type Scope = (typeof SCOPES)[number];

/** What tells a workload, in the protocol's words. */
export type Entity = Partial<Record<EntityField, string>>;
export type EntityField =
  | "namespace"
  | "workload_name"
  | "pod_name"
  | "container_name"
  | "process_name"
  | "pid"
  | "hostname";

/** What an entity of each scope may say; of the first, one at least. */
export const ENTITY_FIELDS: Record<Exclude<Scope, "host" | "service">, readonly EntityField[]> = {
  namespace: ["namespace", "hostname"],
  workload: ["workload_name", "namespace", "hostname"],
  pod: ["pod_name", "namespace", "hostname"],
  container: ["container_name", "pod_name", "namespace", "hostname"],
  process: ["process_name", "pid", "container_name", "pod_name", "namespace", "hostname"],
};

export type When = "now" | "later" | "schedule";

export interface Form {
  command: "start" | "stop";
  service: string;
  scope: Scope;
  hosts: readonly string[];
  entities: readonly Entity[];
  duration: number;
  frequency: number;
  mode: string;
  /** Profilers that are to be other than usual: true is on. */
  switches: Readonly<Record<string, boolean>>;
  continuous: boolean;
  pids: string;
  /** The processes of each host by itself, as of a request that is asked for again; null: the whole host. */
  pidsByHost: Readonly<Record<string, readonly number[] | null>> | null;
  stopLevel: "" | "process" | "host";
  maxProcesses: string;
  priority: "low" | "normal" | "urgent";
  expiresIn: number;
  sample: string;
  maxConcurrency: string;
  maxErrors: string;
  when: When;
  startAt: string;
  name: string;
  cron: string;
  timezone: string;
  overlap: "skip" | "allow";
  /** For so many seconds a firing that nobody was there for is made up for. */
  catchUp: number;
  /** After so many failures in a row it pauses; 0: never. */
  pauseAfter: number;
  /** Arguments of the agent that have no field of their own, as a JSON object; empty: none. */
  args: string;
}

export const DEFAULTS: Form = {
  command: "start",
  service: "",
  scope: "host",
  hosts: [],
  entities: [{}],
  duration: 30,
  frequency: 99,
  mode: "cpu",
  switches: {},
  continuous: false,
  pids: "",
  pidsByHost: null,
  stopLevel: "",
  maxProcesses: "",
  priority: "normal",
  expiresIn: 900,
  sample: "",
  maxConcurrency: "",
  maxErrors: "",
  when: "now",
  startAt: "",
  name: "",
  cron: "0 3 * * *",
  timezone: "UTC",
  overlap: "skip",
  catchUp: 300,
  pauseAfter: 5,
  args: "",
};

/** Profilers that run only where they are asked for: they stop what they look at, or change it. */
const ASKED_FOR: ReadonlySet<string> = new Set(["memray"]);

export const isOn = (form: Pick<Form, "switches">, profiler: string): boolean =>
  form.switches[profiler] ?? !ASKED_FOR.has(profiler);

/** Process ids as people write them: with commas or blanks. */
export const pidsOf = (text: string): number[] => (text.match(/[^\s,]+/g) ?? []).map(Number);

/** A number of hosts or a share of them, as the protocol has it: `3` or `"10%"`; undefined where it is neither. */
export function shareOf(text: string, least: number): number | string | undefined {
  const said = text.trim();
  if (/^\d{1,6}$/.test(said) && Number(said) >= least && Number(said) <= 100_000) return Number(said);
  const percent = /^(\d{1,3})\s*%$/.exec(said);
  const share = Number(percent?.[1]);
  return percent && share >= least && share <= 100 ? `${share}%` : undefined;
}

const isWorkload = (scope: Scope): scope is keyof typeof ENTITY_FIELDS => scope !== "host" && scope !== "service";

/** An entity with what its scope knows, and nothing that was left empty. */
function entity(scope: keyof typeof ENTITY_FIELDS, said: Entity): Record<string, unknown> {
  return Object.fromEntries(
    ENTITY_FIELDS[scope].flatMap((name) => {
      const text = (said[name] ?? "").trim();
      return text === "" ? [] : [[name, name === "pid" ? Number(text) : text]];
    }),
  );
}

function targets(form: Form): Wish {
  if (isWorkload(form.scope)) {
    const scope = form.scope;
    return { target_scope: scope, target_entities: form.entities.map((each) => entity(scope, each)) };
  }
  const pids = form.pids.trim() ? { pids: pidsOf(form.pids) } : {};
  if (form.scope === "service") return { target_scope: "service", ...pids };
  if (form.pidsByHost !== null)
    return { target_hosts: Object.fromEntries(form.hosts.map((host) => [host, form.pidsByHost?.[host] ?? null])) };
  // Hosts are named one by one: what is confirmed is what is profiled.
  return { target_hostnames: [...form.hosts], ...pids };
}

/** The object that a text is as JSON; undefined where it is none. */
function objectOf(text: string): Record<string, unknown> | undefined {
  if (text.trim() === "") return {};
  try {
    const said: unknown = JSON.parse(text);
    return typeof said === "object" && said !== null && !Array.isArray(said)
      ? (said as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function extras(form: Form): Wish {
  const { profiler_configs: others, ...kept } = objectOf(form.args) ?? {};
  const configs = {
    ...(others as Record<string, unknown> | undefined),
    ...Object.fromEntries(Object.entries(form.switches).map(([name, on]) => [name, on ? "enabled" : "disabled"])),
  };
  const all = {
    ...kept,
    ...(form.maxProcesses.trim() ? { max_processes: Number(form.maxProcesses) } : {}),
    ...(Object.keys(configs).length > 0 ? { profiler_configs: configs } : {}),
  };
  return Object.keys(all).length > 0 ? { additional_args: all } : {};
}

/** The body of a request. */
export function wish(form: Form): Wish {
  const always = {
    service_name: form.service,
    command_type: form.command,
    ...targets(form),
    ...(form.priority === "normal" ? {} : { priority: form.priority }),
    ...(form.expiresIn === DEFAULTS.expiresIn ? {} : { expires_in: form.expiresIn }),
  };
  if (form.command === "stop") return { ...always, ...(form.stopLevel ? { stop_level: form.stopLevel } : {}) };
  const share = (name: string, text: string, least: number) =>
    text.trim() ? { [name]: shareOf(text, least) ?? text } : {};
  return {
    ...always,
    duration: form.duration,
    frequency: form.frequency,
    profiling_mode: form.mode,
    ...(form.continuous ? { continuous: true } : {}),
    ...share("sample", form.sample, 1),
    ...share("max_concurrency", form.maxConcurrency, 1),
    ...(form.maxConcurrency.trim() ? share("max_errors", form.maxErrors, 0) : {}),
    ...(form.when === "later" ? { start_at: form.startAt } : {}),
    ...extras(form),
  };
}

/** The body of a schedule. */
export const scheduleWish = (form: Form): Wish => ({
  name: form.name.trim(),
  cron: form.cron.trim(),
  timezone: form.timezone.trim(),
  overlap: form.overlap,
  catch_up: form.catchUp,
  pause_after: form.pauseAfter,
  request: wish(form),
});

export interface Preview {
  hosts: number;
  online: number;
  busy: number;
  services: string[];
  modes: string[];
  profilers: string[];
}

/** What is known of the targets: modes and profilers are those that at least one of them reports. */
export function preview(targets: readonly Row[]): Preview {
  const all = (pick: (row: Row) => readonly string[]) => [...new Set(targets.flatMap((row) => [...pick(row)]))].sort();
  return {
    hosts: targets.length,
    online: targets.filter((row) => row.status === "online").length,
    busy: targets.filter((row) => row.busy).length,
    services: all((row) => [row.service_name]),
    modes: all((row) => row.profiling_modes ?? []),
    profilers: all((row) => row.profilers ?? []),
  };
}

const between = (value: number, least: number, most: number) =>
  Number.isInteger(value) && value >= least && value <= most;

function targetFault(form: Form): string {
  if (form.service === "") return "Choose a service.";
  if (form.scope === "host" && form.hosts.length === 0) return "Choose at least one host.";
  if (!pidsOf(form.pids).every((pid) => Number.isInteger(pid) && pid > 0))
    return "Processes are numbers, with commas between.";
  if (!isWorkload(form.scope)) return "";
  const [first, second] = ENTITY_FIELDS[form.scope];
  for (const each of form.entities) {
    const said = entity(form.scope, each);
    if (said[first as string] === undefined && !(form.scope === "process" && said[second as string] !== undefined))
      return `Say which ${form.scope} is meant.`;
    if (said.pid !== undefined && (!between(Number(said.pid), 1, 2 ** 31 - 1) || said.hostname === undefined))
      return "A pid is a number, and needs its host: another host has other processes of that number.";
  }
  return "";
}

/** What is wrong with a form, in words; empty: nothing. `now` is in ms. */
export function fault(form: Form, now: number): string {
  const wrong = targetFault(form);
  if (wrong) return wrong;
  if (!between(form.expiresIn, 1, 86_400)) return "A host must begin within 1 to 86,400 seconds.";
  if (form.when === "schedule" && form.name.trim() === "") return "Give the schedule a name.";
  if (form.when === "schedule" && form.cron.trim().split(/\s+/).length !== 5)
    return "When is five fields: minute, hour, day of the month, month, day of the week.";
  if (form.when === "schedule" && !between(form.catchUp, 0, 604_800))
    return "A firing that was missed is made up for within 0 to 604,800 seconds.";
  if (form.when === "schedule" && !between(form.pauseAfter, 0, 1_000))
    return "It pauses after 1 to 1,000 failures in a row, or after 0: never.";
  if (form.command === "stop") return "";
  if (!between(form.duration, 1, 86_400)) return "The duration is 1 to 86,400 seconds.";
  if (!between(form.frequency, 1, 1_000)) return "The frequency is 1 to 1,000 Hz.";
  for (const [name, text, least] of [
    ["The sample", form.sample, 1],
    ["How many at a time", form.maxConcurrency, 1],
    ["How many may fail", form.maxErrors, 0],
  ] as const) {
    if (text.trim() && shareOf(text, least) === undefined)
      return `${name} is a number of hosts, or a share such as 10%.`;
  }
  if (form.maxConcurrency.trim() && form.continuous) return "A run that goes on never makes room for the next host.";
  if (form.maxConcurrency.trim() && form.when === "later") return "Hosts start together or in turns, and not both.";
  if (objectOf(form.args) === undefined) return 'Other arguments are a JSON object, as {"team": "checkout"}.';
  if (form.maxProcesses.trim() && !between(Number(form.maxProcesses), 1, 1_000))
    return "Each profiler attaches to 1 to 1,000 processes.";
  if (form.when === "later") {
    const ahead = Date.parse(form.startAt) - now;
    if (!(ahead > 0 && ahead <= 7 * 86_400_000)) return "The start lies ahead, by at most 7 days.";
  }
  return "";
}

/** What a request will cost, in words; `hosts` is what the server has found. */
export function cost(form: Form, hosts: number): string {
  if (form.command === "stop") return `Stops what is profiled on ${count(hosts, "host")}.`;
  const samples = (hosts * form.duration * form.frequency).toLocaleString("en");
  const each = `${count(hosts, "host")} × ${duration(form.duration)} at ${form.frequency} Hz`;
  if (form.continuous) return `${each}: some ${samples} samples a busy core for each window, until it is cancelled.`;
  const share = shareOf(form.maxConcurrency, 1);
  const total = `${each}: some ${samples} samples a busy core`;
  if (share === undefined) return `${total}.`;
  const most = typeof share === "number" ? share : Math.floor((hosts * Number.parseInt(share, 10)) / 100);
  const turns = Math.ceil(hosts / Math.max(1, Math.min(most, hosts)));
  return `${total}; ${count(turns, "turn")}, so at least ${duration(turns * form.duration)}.`;
}
