import { expect, test } from "vitest";
import { stretch } from "./times";

const NOON = new Date(2026, 0, 8, 12, 0, 3).getTime();

test("a few seconds are told to the second", () => {
  expect(stretch(NOON, NOON + 5_000)).toBe("8 Jan 2026, 12:00:03 – 12:00:08");
});

test("hours are told to the minute, and days where they are two", () => {
  expect(stretch(NOON, NOON + 3_600_000)).toBe("8 Jan 2026, 12:00 – 13:00");
  expect(stretch(NOON, NOON + 86_400_000)).toBe("8 Jan 2026, 12:00 – 9 Jan 2026, 12:00");
});
