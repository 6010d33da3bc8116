import { expect, test } from "vitest";
import type { Token } from "./calls";
import { fault, NEW, servicesOf, standing, wish } from "./rules";

const NOW = Date.parse("2026-01-08T12:00:00Z");
const token = (facts: Partial<Token> = {}): Token => ({
  id: "t",
  kind: "viewer",
  name: "",
  description: "",
  tenant: "default",
  services: ["*"],
  created_at: "2026-01-01T00:00:00Z",
  expires_at: null,
  revoked_at: null,
  rotated_at: null,
  previous_valid_until: null,
  last_used_at: null,
  max_uses: null,
  uses: null,
  hostname: null,
  ...facts,
});

test("a token is good until it is revoked, expires or is used up", () => {
  expect(standing(token({ expires_at: "2026-01-08T12:00:01Z" }), NOW)).toBe("good");
  expect(standing(token({ expires_at: "2026-01-08T12:00:00Z" }), NOW)).toBe("expired");
  expect(standing(token({ revoked_at: "2026-01-01T00:00:00Z", expires_at: "2026-01-01T00:00:00Z" }), NOW)).toBe(
    "revoked",
  );
  expect(standing(token({ kind: "enrolment", max_uses: 2, uses: 2 }), NOW)).toBe("used up");
});

test("a wish says what was filled in, and the number of hosts of an enrolment token alone", () => {
  const form = { ...NEW, name: " ci ", services: "a, b*\n c" };
  expect(servicesOf(form.services)).toEqual(["a", "b*", "c"]);
  expect(wish(form)).toEqual({
    kind: "viewer",
    services: ["a", "b*", "c"],
    name: "ci",
    description: "",
    expires_in: 7_776_000,
  });
  expect(wish({ ...form, kind: "enrolment", expires_in: null })).toMatchObject({ kind: "enrolment", max_uses: 100 });
  expect("expires_in" in wish({ ...form, expires_in: null })).toBe(false);
});

test("what is missing is said", () => {
  expect(fault(NEW)).toContain("name");
  expect(fault({ ...NEW, name: "x" })).toContain("services");
  expect(fault({ ...NEW, name: "x", services: "*", kind: "enrolment", max_uses: Number.NaN })).toContain("hosts");
  expect(fault({ ...NEW, name: "x", services: "*" })).toBe("");
});
