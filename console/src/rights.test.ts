import { expect, test } from "vitest";
import { rightsOf } from "./rights";

const of = (kind: "viewer" | "operator" | "admin", services: string[], tenant = "default", id = "t-1") =>
  Object.entries(rightsOf({ id, kind, services, tenant }))
    .filter(([, may]) => may)
    .map(([what]) => what);

test("each kind of token is offered what the server lets it do, and no more", () => {
  expect(of("viewer", ["web"])).toEqual(["audit"]);
  expect(of("viewer", ["*"])).toEqual(["audit", "chain"]);
  expect(of("operator", ["*"])).toEqual(["act", "schedule"]);
  expect(of("admin", ["web"])).toEqual(["act", "schedule", "audit"]);
  expect(of("admin", ["*"], "other")).toEqual(["act", "schedule", "audit", "chain", "tokens"]);
  expect(of("admin", ["*"])).toEqual(["act", "schedule", "audit", "chain", "tokens", "installation"]);
  expect(of("operator", ["*"], "default", "oidc:ada")).toEqual(["act"]);
});
