import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Item } from "./calls";
import { canonical, type Part, verify } from "./chain";
import { asCsv, asLines, fromLocal, type Link, more, read, toLocal, write } from "./rules";

const item = (facts: Partial<Item> = {}): Item => ({
  number: 7,
  id: "r-7",
  at: "2026-01-08T12:00:00Z",
  action: "token.create",
  outcome: "accepted",
  count: 1,
  hash: "ab",
  ...facts,
});

test("filters stand in the address as they are, and only those that are set", () => {
  const filters = read("?since=2026-01-08T12:00:00.000Z&action=request.*&x=1");
  expect(write(filters)).toBe("since=2026-01-08T12%3A00%3A00.000Z&action=request.*");
  expect(read(`?${write(filters)}`)).toEqual(filters);
  expect(fromLocal(toLocal(filters.since))).toBe(filters.since);
  expect([toLocal(""), fromLocal("soon")]).toEqual(["", ""]);
});

test("a cell of an export is no formula, and a text with commas and quotes one cell", () => {
  const [head, row] = asCsv([item({ actor: '=HYPERLINK("x")', objects: ["a", "b"], details: { n: 1 } })]).split("\r\n");
  expect(head?.startsWith("number,at,")).toBe(true);
  expect(row).toContain(`"'=HYPERLINK(""x"")"`);
  expect(row).toContain(",a b,");
  expect(row).toContain('"{""n"":1}"');
  expect(asLines([item(), item({ number: 8 })]).split("\n")).toHaveLength(3);
});

test("what a record does not say is not shown", () => {
  expect(more(item({ objects: [], code: "forbidden" })).map(([name]) => name)).toEqual(["code", "number", "hash"]);
});

describe("the chain", () => {
  const sha = (text: string) => createHash("sha256").update(text).digest("hex");
  const START = { number: 0, hash: "0".repeat(64) };
  const link = (before: { number: number; hash: string }, body: Record<string, string>): Link => {
    const number = String(before.number + 1);
    const digest = sha(canonical(body));
    return { number, prev: before.hash, digest, body, hash: sha(`${number}\n${before.hash}\n${digest}`) };
  };
  const one = link(START, { id: "a", action: "token.create" });
  const two = link({ number: 1, hash: one.hash }, { id: "b", service: "café" });
  const whole: Part = { checkpoint: START, head: { number: 2, hash: two.hash }, links: [one, two] };
  const verdict = (part: Part) => verify(() => Promise.resolve(part));

  test("is hashed as the server does: sorted names, no blanks, nothing beyond ASCII", () => {
    expect(canonical({ b: 'ü"', a: "\n\u007f😀" })).toBe('{"a":"\\n\\u007f\\ud83d\\ude00","b":"\\u00fc\\""}');
  });

  test("is whole where nothing was changed, and a record without a body is followed", async () => {
    expect(await verdict(whole)).toMatchObject({ ok: true, ends: 2, unreadable: 0 });
    expect(await verdict({ ...whole, links: [{ ...one, body: null }, two] })).toMatchObject({
      ok: true,
      unreadable: 1,
    });
  });

  test("tells the first record that was changed, left out or moved", async () => {
    const forged = { ...two, body: { id: "b", service: "other" } };
    expect((await verdict({ ...whole, links: [one, forged] })).reason).toBe("Record 2: it is not as it was written.");
    expect((await verdict({ ...whole, links: [two] })).reason).toContain("Record 1: in its place");
    expect((await verdict({ ...whole, links: [one] })).reason).toContain("Record 2 is missing");
    const rehashed = link(START, { id: "a", action: "token.revoke" });
    expect((await verdict({ ...whole, links: [rehashed, two] })).reason).toContain(
      "Record 2: it was not written after",
    );
    expect((await verdict({ ...whole, head: { number: 2, hash: "ff" } })).reason).toContain("not the one");
  });
});
