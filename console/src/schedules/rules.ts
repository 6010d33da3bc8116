// What the page of schedules makes of them. Pure.
import { duration } from "../words";
import type { ScheduleView } from "./calls";

const OUTCOMES: Record<string, string> = {
  submitted: "submitted",
  skipped: "skipped: the former one was still open",
  missed: "missed: nobody fired it in time",
  refused: "refused",
  failed: "failed",
};

/** What became of a firing, in words. */
export const outcome = (firing: { outcome: string; reason?: string | null }): string => {
  const said = OUTCOMES[firing.outcome] ?? firing.outcome;
  return firing.reason ? `${said.split(":")[0]}: ${firing.reason}` : said;
};

/** What a schedule asks for, in a line. */
export function asked(request: ScheduleView["request"]): string {
  const said = request as Record<string, unknown>;
  const hosts = said.target_hostnames ?? Object.keys((said.target_hosts as object | undefined) ?? {});
  const whom =
    Array.isArray(hosts) && hosts.length > 0
      ? `${hosts.slice(0, 3).join(", ")}${hosts.length > 3 ? ` and ${hosts.length - 3} more` : ""}`
      : Array.isArray(said.target_entities)
        ? `${said.target_entities.length} × ${said.target_scope}`
        : "every host of the service";
  if (said.command_type === "stop") return `a stop on ${whom}`;
  const facts = [
    duration(Number(said.duration ?? 60)),
    `at ${said.frequency ?? 11} Hz`,
    String(said.profiling_mode ?? "cpu"),
    ...(said.sample ? [`a sample of ${said.sample}`] : []),
    ...(said.max_concurrency ? [`${said.max_concurrency} at a time`] : []),
  ];
  return `${facts.join(", ")}, on ${whom}`;
}

/** A moment in a zone, as people there read it. */
export function inZone(moment: string, zone: string): string {
  return new Intl.DateTimeFormat("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    timeZone: zone,
  }).format(new Date(moment));
}
