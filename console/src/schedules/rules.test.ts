import { expect, test } from "vitest";
import { asked, inZone, outcome } from "./rules";

test("what a schedule asks for is told by its request, defaults of the server included", () => {
  expect(asked({ target_scope: "service" })).toBe("60 s, at 11 Hz, cpu, on every host of the service");
  expect(asked({ target_hostnames: ["a", "b", "c", "d"], duration: 30, sample: "10%" })).toBe(
    "30 s, at 11 Hz, cpu, a sample of 10%, on a, b, c and 1 more",
  );
  expect(asked({ target_scope: "pod", target_entities: [{}, {}] })).toContain("on 2 × pod");
  expect(asked({ command_type: "stop", target_hosts: { a: null } })).toBe("a stop on a");
});

test("a firing's reason takes the place of the usual one", () => {
  expect(outcome({ outcome: "skipped" })).toBe("skipped: the former one was still open");
  expect(outcome({ outcome: "refused", reason: "the token was revoked" })).toBe("refused: the token was revoked");
});

test("a moment is told as they read it there", () => {
  expect(inZone("2026-01-08T12:00:00Z", "Asia/Tokyo")).toMatch(/8 Jan.*21:00/);
});
