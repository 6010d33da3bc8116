// What the audit page makes of records: filters as they stand in the address, and files to keep. Pure.
import type { Item } from "./calls";

export interface Filters {
  since: string;
  until: string;
  actor: string;
  action: string;
  outcome: string;
  service: string;
  object: string;
}

export const NAMES = ["since", "until", "actor", "action", "outcome", "service", "object"] as const;

export function read(search: string): Filters {
  const said = new URLSearchParams(search);
  return Object.fromEntries(NAMES.map((name) => [name, said.get(name) ?? ""])) as unknown as Filters;
}

export function write(filters: Filters): string {
  return new URLSearchParams(NAMES.flatMap((name) => (filters[name] ? [[name, filters[name]]] : []))).toString();
}

/** A moment as an input for local time has it, and back; empty for none. */
export function toLocal(moment: string): string {
  const at = new Date(moment);
  if (moment === "" || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function fromLocal(text: string): string {
  const at = new Date(text);
  return text === "" || Number.isNaN(at.getTime()) ? "" : at.toISOString();
}

export const ACTIONS = [
  "request.submit",
  "request.cancel",
  "schedule.create",
  "schedule.change",
  "schedule.delete",
  "token.create",
  "token.rotate",
  "token.revoke",
  "session.begin",
  "session.end",
  "host.enrol",
  "host.release",
  "dead_letter.replay",
  "profile.delete",
  "profile.expire",
  "profile.fold",
  "command.complete",
  "call",
] as const;

export interface Link {
  number: string;
  prev: string;
  hash: string;
  digest: string;
  body?: Record<string, string> | null;
}

const COLUMNS = [
  "number",
  "at",
  "last_at",
  "count",
  "action",
  "outcome",
  "code",
  "actor",
  "actor_kind",
  "service_name",
  "hosts",
  "objects",
  "address",
  "route",
  "http_request_id",
  "act",
  "before",
  "after",
  "details",
  "id",
  "hash",
] as const satisfies readonly (keyof Item)[];

/** A cell that no spreadsheet takes for a formula. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" ? value : typeof value === "number" ? String(value) : JSON.stringify(value);
  const tame = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(tame) ? `"${tame.replaceAll('"', '""')}"` : tame;
}

/** Records as a table for spreadsheets. */
export const asCsv = (items: readonly Item[]): string =>
  [
    COLUMNS.join(","),
    ...items.map((item) =>
      COLUMNS.map((name) => cell(name === "objects" ? item.objects?.join(" ") : item[name])).join(","),
    ),
    "",
  ].join("\r\n");

/** Records for programs, one a line. */
export const asLines = (items: readonly Item[]): string => items.map((item) => `${JSON.stringify(item)}\n`).join("");

/** What a record tells beside its row: name and text. */
export function more(item: Item): [string, string][] {
  const facts: [string, unknown][] = [
    ["before", item.before],
    ["after", item.after],
    ["details", item.details],
    ["code", item.code],
    ["about", item.objects?.join(" ") || null],
    ["hosts", item.hosts],
    ["SHA-256 of their names", item.targets],
    ["from", item.address],
    ["route", item.route],
    ["X-Request-ID", item.http_request_id],
    ["fails the act", item.act],
    ["number", item.number],
    ["hash", item.hash],
  ];
  return facts.flatMap(([name, fact]) =>
    fact === null || fact === undefined
      ? []
      : [[name, typeof fact === "object" ? JSON.stringify(fact, null, 1) : String(fact)] as [string, string]],
  );
}
