import { describe, expect, test } from "vitest";
import document from "../../openapi.json";
import type { CommandRow, Host, OnHost, RequestStatus } from "../api";
import { rows } from "../fleet/rules";
import type { ScheduleView } from "../schedules/calls";
import { again, ofSchedule } from "./again";
import { cost, DEFAULTS, type Form, fault, preview, scheduleWish, wish } from "./rules";

const NOW = Date.parse("2026-01-08T12:00:00Z");
const form: Form = { ...DEFAULTS, service: "web", hosts: ["a", "b"] };
const host = (hostname: string, facts: Partial<Host>): Host => ({
  service_name: "web",
  hostname,
  ip_address: "10.0.0.1",
  status: "online",
  agent_status: "active",
  agent_version: "1.0",
  last_beat: "2026-01-08T12:00:00Z",
  ...facts,
});

describe("a command", () => {
  test("names its hosts, and says nothing that it does not mean", () => {
    expect(wish(form)).toEqual({
      service_name: "web",
      command_type: "start",
      target_hostnames: ["a", "b"],
      duration: 30,
      frequency: 99,
      profiling_mode: "cpu",
    });
    expect(wish({ ...form, switches: { java: false, memray: true }, maxProcesses: "3" })).toMatchObject({
      additional_args: { max_processes: 3, profiler_configs: { java: "disabled", memray: "enabled" } },
    });
    expect(wish({ ...form, pids: "12, 34", continuous: true })).toMatchObject({ pids: [12, 34], continuous: true });
  });

  test("goes out in turns, for a sample, or at a moment", () => {
    const turns = { ...form, sample: "3", maxConcurrency: "10 %", maxErrors: "0", priority: "urgent" as const };
    expect(wish(turns)).toMatchObject({ sample: 3, max_concurrency: "10%", max_errors: 0, priority: "urgent" });
    expect(wish({ ...form, maxErrors: "2" })).not.toHaveProperty("max_errors");
    const at = "2026-01-08T13:00:00.000Z";
    expect(wish({ ...form, when: "later", startAt: at })).toMatchObject({ start_at: at });
  });

  test("names workloads by what their scope knows alone", () => {
    const said = { process_name: " php ", pid: "", namespace: "shop", workload_name: "left from before" };
    expect(wish({ ...form, scope: "process", entities: [said] })).toMatchObject({
      target_scope: "process",
      target_entities: [{ process_name: "php", namespace: "shop" }],
    });
    expect(wish({ ...form, scope: "service" })).toMatchObject({ target_scope: "service" });
  });

  test("that stops says nothing of a run", () => {
    expect(wish({ ...form, command: "stop", stopLevel: "host", maxConcurrency: "1" })).toEqual({
      service_name: "web",
      command_type: "stop",
      target_hostnames: ["a", "b"],
      stop_level: "host",
    });
  });

  test("by the clock has no moment of its own", () => {
    const said = scheduleWish({ ...form, when: "schedule", name: " nightly ", startAt: "2026-01-08T13:00:00Z" });
    expect(said).toMatchObject({ name: "nightly", cron: "0 3 * * *", timezone: "UTC", overlap: "skip" });
    expect(said.request).not.toHaveProperty("start_at");
  });

  test("is previewed by what the hosts say", () => {
    const known = [host("a", { profilers: ["perf"] }), host("b", { status: "stale", profilers: ["java"] })];
    const busy = { service_name: "web", hostname: "a", state: "running", command_type: "start" } as CommandRow;
    expect(preview(rows(known, [busy]))).toMatchObject({ hosts: 2, online: 1, busy: 1, profilers: ["java", "perf"] });
  });

  test.each<[Partial<Form>, RegExp]>([
    [{ hosts: [] }, /host/],
    [{ duration: Number.NaN }, /duration/],
    [{ frequency: 1_001 }, /frequency/],
    [{ pids: "12, x" }, /Processes/],
    [{ sample: "half" }, /sample/],
    [{ maxConcurrency: "0" }, /at a time/],
    [{ maxConcurrency: "101%" }, /at a time/],
    [{ maxConcurrency: "5", continuous: true }, /never makes room/],
    [{ maxConcurrency: "5", when: "later" }, /together or in turns/],
    [{ when: "later", startAt: "2026-01-08T11:00:00Z" }, /ahead/],
    [{ when: "later", startAt: "" }, /ahead/],
    [{ when: "schedule", name: "" }, /name/],
    [{ when: "schedule", name: "x", cron: "@daily" }, /five fields/],
    [{ scope: "pod" }, /which pod/],
    [{ scope: "process", entities: [{ pid: "7" }] }, /needs its host/],
    [{ maxProcesses: "x" }, /attaches/],
    [{ args: "[1]" }, /JSON object/],
    [{ args: "{" }, /JSON object/],
    [{ when: "schedule", name: "x", catchUp: Number.NaN }, /made up/],
    [{ when: "schedule", name: "x", pauseAfter: -1 }, /never/],
  ])("that cannot be is told why: %o", (part, why) => {
    expect(fault({ ...form, ...part }, NOW)).toMatch(why);
    expect(fault(form, NOW)).toBe("");
  });

  test("says what it will cost, in turns too", () => {
    expect(cost(form, 2)).toBe("2 hosts × 30 s at 99 Hz: some 5,940 samples a busy core.");
    expect(cost({ ...form, maxConcurrency: "10%" }, 25)).toContain("13 turns, so at least 7 min");
    expect(cost({ ...form, continuous: true }, 1)).toContain("until it is cancelled");
    expect(cost({ ...form, command: "stop" }, 1)).toBe("Stops what is profiled on 1 host.");
  });
});

describe("a request asked for again", () => {
  const status = (asked: Record<string, unknown>, hosts: [string, OnHost["status"], number[] | null][]) =>
    ({
      service_name: "web",
      asked: { service_name: "web", ...asked },
      hosts: hosts.map(([hostname, state, pids]) => ({ hostname, status: state, pids })),
    }) as unknown as RequestStatus;

  test("is for the hosts where it went wrong, and keeps all that it asked", () => {
    const asked = {
      command_type: "start",
      duration: 7,
      frequency: 11,
      profiling_mode: "wall",
      priority: "urgent",
      expires_in: 60,
      max_concurrency: "50%",
      max_errors: 0,
      additional_args: { profiler_configs: { perf: "disabled", async_profiler: { time: "wall" } }, x: 1 },
    };
    const { form, dropped } = again(
      status(asked, [
        ["a", "completed", [7]],
        ["b", "failed", [8]],
        ["c", "lost", [8]],
      ]),
    );
    expect(dropped).toEqual([]);
    expect(fault(form, NOW)).toBe("");
    expect(wish(form)).toEqual({ service_name: "web", target_hostnames: ["b", "c"], pids: [8], ...asked });
  });

  test("takes the server's defaults where nothing was said, and not the form's", () => {
    expect(wish(again(status({}, [["b", "failed", null]])).form)).toMatchObject({ duration: 60, frequency: 11 });
  });

  test("names each host's own processes where they differ", () => {
    const { form } = again(
      status({}, [
        ["b", "failed", [8]],
        ["c", "expired", null],
      ]),
    );
    expect(wish(form)).toMatchObject({ target_hosts: { b: [8], c: null } });
  });

  test("stays a stop", () => {
    const { form } = again(status({ command_type: "stop", stop_level: "host" }, [["b", "expired", null]]));
    expect(wish(form)).toMatchObject({ command_type: "stop", stop_level: "host", target_hostnames: ["b"] });
  });

  test("means its workloads on those hosts alone, and not the processes that they were then", () => {
    const meant = [{ pod_name: "p" }, { pod_name: "q", hostname: "a" }];
    const { form } = again(
      status({ target_scope: "pod", target_entities: meant }, [
        ["a", "completed", [1]],
        ["b", "failed", [2]],
      ]),
    );
    expect(wish(form)).toMatchObject({ target_scope: "pod", target_entities: [{ pod_name: "p", hostname: "b" }] });
    expect(wish(form)).not.toHaveProperty("pids");
  });

  test("says what cannot hold again: a sample, and a moment that has passed", () => {
    const told = again(status({ sample: 1, start_at: "2026-01-08T11:00:00Z" }, [["b", "failed", null]]));
    expect(told.dropped).toHaveLength(2);
    expect(wish(told.form)).not.toHaveProperty("sample");
    expect(wish(told.form)).not.toHaveProperty("start_at");
  });
});

describe("a schedule that is changed", () => {
  const BOTH = { service_name: "web", duration: 60, frequency: 11, profiling_mode: "cpu", command_type: "start" };
  test.each([
    { ...BOTH, target_scope: "service", sample: "10%", max_concurrency: 2, max_errors: 0, continuous: false },
    { ...BOTH, target_hostnames: ["a", "b"], pids: [1, 2], priority: "low", expires_in: 60 },
    {
      ...BOTH,
      target_hosts: { a: [1], b: null },
      additional_args: { team: "x", profiler_configs: { perf: "disabled" } },
    },
    { ...BOTH, target_scope: "process", target_entities: [{ pid: 7, hostname: "a" }, { process_name: "java" }] },
    { service_name: "web", command_type: "stop", target_scope: "service", stop_level: "host" },
  ])(
    "asks for the same where nothing of it is touched: %j",
    ({ continuous: _, ...request }: Record<string, unknown>) => {
      const plan = { name: "n", cron: "0 3 * * *", timezone: "Asia/Tokyo", overlap: "allow" };
      const rest = { catch_up: 60, pause_after: 0 };
      const form = ofSchedule({ ...plan, ...rest, service_name: "web", request } as unknown as ScheduleView);
      expect(scheduleWish(form)).toEqual({ ...plan, ...rest, request });
      expect(fault(form, NOW)).toBe("");
    },
  );
});

describe("every field of the API", () => {
  const { ProfileRequest } = document.components.schemas;
  const wishOfSchedules = document.paths["/api/v1/schedules"].post.requestBody.content["application/json"].schema;
  const turns = { sample: "3", maxConcurrency: "1", maxErrors: "0", priority: "low", expiresIn: 60 } as const;
  const forms: Partial<Form>[] = [
    { ...turns, pids: "7", continuous: true, args: '{"team": "x"}' },
    { when: "later", startAt: "2026-01-08T13:00:00Z" },
    { scope: "pod", entities: [{ pod_name: "p" }] },
    { pidsByHost: { a: [7] } },
    { command: "stop", stopLevel: "host" },
  ];
  const fieldsOf = (bodies: Record<string, unknown>[]) => new Set(bodies.flatMap((body) => Object.keys(body)));
  /** Fields that need nobody to fill them in. */
  const ELSEWHERE = ["dry_run", "request_type", "enabled"]; // the button; command_type's other name; Pause and Resume

  test.each([
    ["a request", ProfileRequest, forms.map((part) => wish({ ...form, ...part }))],
    ["a schedule", wishOfSchedules, [scheduleWish({ ...form, name: "n", when: "schedule" })]],
  ])("of %s is sent by some form", (_, schema, bodies) => {
    const known = Object.keys(schema.properties).filter((name) => !ELSEWHERE.includes(name));
    expect([...fieldsOf(bodies)].sort()).toEqual(known.sort());
  });
});
