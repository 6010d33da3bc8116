// What the form makes: the body of a request, and what is said before it is sent. Pure.
import type { Wish } from "../api";
import type { Row } from "../fleet/rules";

export interface Form {
  service: string;
  hosts: readonly string[];
  duration: number;
  frequency: number;
  mode: string;
  off: readonly string[];
  continuous: boolean;
  pids: string;
}

export const DEFAULTS = {
  duration: 60,
  frequency: 99,
  mode: "cpu",
  off: [] as readonly string[],
  continuous: false,
  pids: "",
};

/** Process ids as people write them: with commas or blanks. */
export const pidsOf = (text: string): number[] => (text.match(/[^\s,]+/g) ?? []).map(Number);

/** The body of a request. Hosts are named one by one: what is confirmed is what is profiled. */
export function wish(form: Form): Wish {
  return {
    service_name: form.service,
    command_type: "start",
    target_hostnames: [...form.hosts],
    duration: form.duration,
    frequency: form.frequency,
    profiling_mode: form.mode,
    ...(form.pids.trim() ? { pids: pidsOf(form.pids) } : {}),
    ...(form.continuous ? { continuous: true } : {}),
    ...(form.off.length > 0
      ? {
          additional_args: { profiler_configs: Object.fromEntries(form.off.map((name) => [name, { enabled: false }])) },
        }
      : {}),
  };
}

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

/** What is wrong with a form, in words; empty: nothing. */
export function fault(form: Form): string {
  if (form.hosts.length === 0) return "Choose at least one host.";
  if (!Number.isInteger(form.duration) || form.duration < 1 || form.duration > 86_400)
    return "The duration is 1 to 86,400 seconds.";
  if (!Number.isInteger(form.frequency) || form.frequency < 1 || form.frequency > 1_000)
    return "The frequency is 1 to 1,000 Hz.";
  if (!pidsOf(form.pids).every((pid) => Number.isInteger(pid) && pid > 0))
    return "Processes are numbers, with commas between.";
  return "";
}
