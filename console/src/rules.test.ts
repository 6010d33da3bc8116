import { describe, expect, test } from "vitest";
import type { CommandRow, Host, OnHost } from "./api";
import { counts, matching, read, rows, write } from "./fleet/rules";
import {
  byUrgency,
  groups,
  hasProfile,
  isElsewhere,
  isPart,
  leftOf,
  openIn,
  pieces,
  span,
  together,
  wentWrong,
  wrongIn,
} from "./request/rules";
import { ago, count, duration } from "./words";

const host = (hostname: string, facts: Partial<Host> = {}): Host => ({
  service_name: "web",
  hostname,
  ip_address: "10.0.0.1",
  status: "online",
  agent_status: "active",
  agent_version: "1.0",
  last_beat: "2026-01-08T12:00:00Z",
  profilers: ["perf"],
  profiling_modes: ["cpu"],
  ...facts,
});
const command = (hostname: string, state: string, command_type = "start") =>
  ({ service_name: "web", hostname, state, command_type }) as CommandRow;
const NO_FILTERS = read("");

describe("the fleet", () => {
  const fleet = rows(
    [
      host("web-10"),
      host("web-2", { status: "stale" }),
      host("db-1", { service_name: "db", profilers: ["perf", "java"] }),
    ],
    [command("web-10", "running"), command("web-2", "completed"), command("db-1", "running", "stop")],
  );

  test("is in the order that people count in, and knows who is at work", () => {
    expect(fleet.map((row) => [row.hostname, row.busy])).toEqual([
      ["db-1", false],
      ["web-2", false],
      ["web-10", true],
    ]);
  });

  test("counts a facet by the other filters, so that each value says what it would show", () => {
    expect(counts(fleet, { ...NO_FILTERS, service: "web" }, "status")).toEqual([
      ["online", 1],
      ["stale", 1],
    ]);
    expect(counts(fleet, { ...NO_FILTERS, service: "web" }, "service")).toEqual([
      ["web", 2],
      ["db", 1],
    ]);
    expect(counts(fleet, { ...NO_FILTERS, service: "gone" }, "service")).toContainEqual(["gone", 0]);
  });

  test("is filtered by what stands in the address, and the address by the filters", () => {
    const filters = read("?profiler=java&q=DB");
    expect(matching(fleet, filters).map((row) => row.hostname)).toEqual(["db-1"]);
    expect(read(`?${write(filters)}`)).toEqual(filters);
    expect(write(NO_FILTERS)).toBe("");
  });
});

describe("a request", () => {
  const at = (second: number) => new Date(Date.UTC(2026, 0, 8, 12, 0, second)).toISOString();
  const on = (hostname: string, status: string, reason: string | null, timeline: Record<string, string> = {}) =>
    ({ hostname, status, reason, timeline }) as OnHost;
  const hosts = [
    on("a", "completed", null, { pending: at(0), running: at(2), completed: at(10) }),
    on("b", "failed", "perf is missing"),
    on("c", "failed", "perf is missing"),
    on("d", "cancelled", null),
  ];

  test("tells what went wrong first, with the reasons and how often", () => {
    const told = groups({ counts: { completed: 1, failed: 2, cancelled: 1 }, hosts });
    expect(told[0]).toEqual({ state: "failed", hosts: 2, reasons: [["perf is missing", 2]] });
  });

  test("is counted as a whole, also where not every host is told, and its trouble comes first", () => {
    const counts = { completed: 4_000, failed: 700, lost: 1, running: 299 };
    expect([openIn(counts), wrongIn(counts)]).toEqual([299, 701]);
    const others = Array.from({ length: 9 }, (_, number) => on(`e${number}`, "completed", null));
    const many = byUrgency([...hosts, ...others]).map((host) => host.hostname);
    expect(many.slice(0, 4)).toEqual(["b", "c", "a", "d"]);
    expect(byUrgency(hosts)).toBe(hosts); // a few stay where they are
  });

  test("knows whose profile the server has, and whose is elsewhere", () => {
    const done = (results_path: string | null) => ({ ...on("a", "completed", null), samples: 7, results_path });
    expect([done("/api/v1/profiles/p-1"), done("/var/lib/a.html"), done(null)].map(hasProfile)).toEqual([
      true,
      false,
      true,
    ]);
    expect([done("/api/v1/profiles/p-1"), done("s3://b/a.html"), done(null)].map(isElsewhere)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("has each host once, also one that was asked for beside those that are told", () => {
    expect(isPart({ hosts, hosts_total: 4 })).toBe(false);
    expect(isPart({ hosts, hosts_total: 5 })).toBe(true);
    const all = together(hosts, [on("z", "lost", "silent"), on("b", "running", null)]);
    expect(all.map((host) => [host.hostname, host.status]).sort()).toEqual([
      ["a", "completed"],
      ["b", "failed"],
      ["c", "failed"],
      ["d", "cancelled"],
      ["z", "lost"],
    ]);
  });

  test("spans however many hosts there are", () => {
    const many = Array.from({ length: 200_000 }, (_, number) => on(`h${number}`, "lost", null, { lost: at(5) }));
    expect(span({ accepted_at: at(0), hosts: many }, 0)).toEqual([Date.parse(at(0)), Date.parse(at(5))]);
  });

  test("is tried again where it went wrong, and nowhere else", () => {
    expect(hosts.filter(wentWrong).map((host) => host.hostname)).toEqual(["b", "c"]);
  });

  test("is a bar whose pieces follow each other, over the span that all share", () => {
    const whole = span({ accepted_at: at(0), hosts } as never, Date.parse(at(50)));
    expect(whole).toEqual([Date.parse(at(0)), Date.parse(at(10))]);
    expect(pieces(hosts[0] as OnHost, whole)).toEqual([
      { state: "pending", left: 0, width: 20 },
      { state: "running", left: 20, width: 80 },
      { state: "completed", left: 100, width: 0 },
    ]);
  });

  test("says how long the first of its runs still takes", () => {
    const asked = { duration: 30 };
    const running = [on("a", "running", null, { running: at(2) }), on("b", "running", null, { running: at(9) })];
    expect(leftOf({ asked, hosts: running }, Date.parse(at(12)))).toBe(20);
    expect(leftOf({ asked, hosts: running }, Date.parse(at(50)))).toBe(0);
    expect(leftOf({ asked: { ...asked, continuous: true }, hosts: running }, Date.parse(at(12)))).toBeUndefined();
    expect(leftOf({ asked, hosts }, Date.parse(at(12)))).toBeUndefined();
  });

  test("goes on until now while a host is open", () => {
    const open = { accepted_at: at(0), hosts: [on("a", "running", null, { running: at(2) })] };
    expect(span(open as never, Date.parse(at(50)))[1]).toBe(Date.parse(at(50)));
  });
});

test("facts are told as people say them", () => {
  expect([duration(45), duration(180), duration(7_200)]).toEqual(["45 s", "3 min", "2 h"]);
  expect(ago("2026-01-08T12:00:00Z", Date.parse("2026-01-08T12:00:30Z"))).toBe("30 s ago");
  expect([count(1, "host"), count(2_000, "host")]).toEqual(["1 host", "2,000 hosts"]);
});
