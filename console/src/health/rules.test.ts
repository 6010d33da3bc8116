import { expect, test } from "vitest";
import type { Role } from "./calls";
import { behind, faults, left, lines, replayed } from "./rules";

const role = (name: string, facts: Partial<Role> = {}): Role => ({
  role: name,
  instance: "a",
  present: true,
  last_pass_at: "2026-01-08T12:00:00Z",
  last_pass_age: 1,
  ...facts,
});

test("what is behind is the group's, and not added up over its instances; a missing role comes first", () => {
  const told = lines([
    role("merger", { behind: 12, oldest_seconds: 3, items_per_second: 2, last_pass_age: 4 }),
    role("merger", { instance: "b", behind: 12, oldest_seconds: 2, items_per_second: 1.5 }),
    role("merger", { instance: "c", present: false, behind: 99, last_pass_age: 600 }),
    role("projector", { present: false, last_pass_age: 30 }),
  ]);
  expect(told.map((line) => [line.role, line.present, line.absent, line.perSecond, line.passed])).toEqual([
    ["projector", 0, 1, null, 30],
    ["merger", 2, 1, 3.5, 1],
  ]);
  expect(told.map(behind)).toEqual(["", "12 entries, the oldest for 3 s"]);
});

test("only what is not as it should be is a fault", () => {
  const checks = { broker: { ok: true, detail: "answers" }, merger: { ok: false, detail: "0 at work" } };
  expect(faults({ status: "degraded", checks })).toEqual([{ name: "merger", detail: "0 at work" }]);
});

test("what is left is read of answers that name one lane or two, and of none that name none", () => {
  expect(left('"reads";q=600;w=60, "stops";q=30;w=60', '"reads";r=9;t=3, "stops";r=30;t=60')).toEqual([
    { lane: "reads", left: 9, of: 600, seconds: 60 },
    { lane: "stops", left: 30, of: 30, seconds: 60 },
  ]);
  expect(left(null, null)).toEqual([]);
  expect(left(null, '"reads";r=9;t=3')).toEqual([]);
});

test("a replay that did not go through is counted", () => {
  expect([replayed(1, 0), replayed(2, 1)]).toEqual(["Replayed 1 letter.", "Replayed 2 letters; 1 could not be."]);
});
