import { expect, test } from "vitest";
import type { Host } from "../api";
import { matchingServices, type Row, services } from "./rules";
import { entityOf, nameOf, read, type WorkloadRow, write } from "./workload-rules";

const row = (service_name: string, hostname: string, facts: Partial<Row> = {}) =>
  ({
    service_name,
    hostname,
    key: `${service_name}/${hostname}`,
    status: "online",
    agent_version: "2.0",
    last_beat: "2026-01-08T12:00:00Z",
    profilers: ["perf"],
    busy: false,
    ...facts,
  }) as Row & Host;
const workload = (facts: Partial<WorkloadRow>) => ({ key: "k", id: "k", serviceName: "shop", ...facts }) as WorkloadRow;

test("services are told by their hosts: how many are there, at work, and by which agents", () => {
  const all = services([
    row("web-10", "a"),
    row("web-2", "a", { status: "stale", last_beat: "2026-01-08T11:00:00Z", profilers: ["java"] }),
    row("web-2", "b", { busy: true, agent_version: "1.0" }),
    row("web-2", "c", { agent_version: "1.0" }),
  ]);
  expect(all.map((each) => each.key)).toEqual(["web-2", "web-10"]);
  expect(all[0]).toEqual({
    key: "web-2",
    hosts: 3,
    online: 2,
    busy: 1,
    versions: [
      ["1.0", 2],
      ["2.0", 1],
    ],
    profilers: ["java", "perf"],
    last_beat: "2026-01-08T12:00:00Z",
  });
  expect(matchingServices(all, " WEB-1", "").map((each) => each.key)).toEqual(["web-10"]);
  expect(matchingServices(all, "", "some").map((each) => each.key)).toEqual(["web-2"]);
});

test("what is looked for stands in the address, and an unknown scope is the usual one", () => {
  const asked = read("?scope=pod&namespace=shop&other=1");
  expect(asked).toEqual({ scope: "pod", namespace: "shop" });
  expect(read(write(asked))).toEqual(asked);
  expect(read("?scope=nonsense&service=web")).toEqual({ scope: "workload", service_name: "web" });
});

test("a row becomes what a request names, and one without a name of its scope cannot be asked for", () => {
  const pod = workload({ scope: "pod", namespace: "shop", podName: "cart-0", workloadName: "cart" });
  expect(entityOf(pod)).toEqual({ pod_name: "cart-0", namespace: "shop" });
  expect(nameOf(pod)).toBe("shop cart-0");
  const process = workload({ scope: "process", pid: 7, processName: null, hostname: "h", namespace: "shop" });
  expect(entityOf(process)).toEqual({ pid: "7", hostname: "h" });
  expect(entityOf(workload({ scope: "container", hostname: "h" }))).toBeUndefined();
});
