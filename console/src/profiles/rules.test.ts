import { describe, expect, test } from "vitest";
import { bars, fault, listed, meant, narrowedTo, picked, read, wider, write } from "./rules";

const NOW = Date.parse("2026-01-08T12:10:20Z");

describe("the library's filters", () => {
  test("stand in the address, and are read from it again", () => {
    const address = "service=web&hostname=a&hostname=b&runtime=java&last=7d";
    const wanted = read(`?${address}`);
    expect(wanted).toMatchObject({ service: "web", last: "7d", where: { hostname: ["a", "b"], runtime: ["java"] } });
    expect(read(write(wanted))).toEqual(wanted);
    expect(write(read("service=web"))).toBe("service=web");
  });

  test("mean a time that ends with this minute, until both ends are said", () => {
    expect(meant(read("service=web&last=1h"), NOW)).toMatchObject({
      where: { profiling_mode: ["cpu"] },
      start: "2026-01-08T11:11:00Z",
      end: "2026-01-08T12:11:00Z",
    });
    const fixed = "service=web&start=2026-01-01T00%3A00%3A00Z&end=2026-01-02T00%3A00%3A00Z";
    expect(meant(read(`${fixed}&last=1h`), NOW)).toMatchObject({ start: "2026-01-01T00:00:00Z" });
    expect(read("last=nonsense").last).toBe("24h");
  });

  test("take values with commas or blanks, each once, and drop a field without any", () => {
    expect(listed(" a,b  a ")).toEqual(["a", "b"]);
    const wanted = narrowedTo(read("service=web&runtime=java"), "hostname", ["h"]);
    expect(wanted.where).toEqual({ runtime: ["java"], hostname: ["h"] });
    expect(narrowedTo(wanted, "runtime", []).where).toEqual({ hostname: ["h"] });
  });

  test.each([
    ["2026-01-01T00:00:00Z", "", /both/],
    ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", /later/],
    ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", /31 days/],
  ])("say what is wrong with the time from %s to %s", (start, end, why) => {
    expect(fault({ start, end })).toMatch(why);
    expect(fault({ start: "2026-01-01T00:00:00Z", end: "2026-01-01T00:00:01Z" })).toBe("");
  });

  test("offer the next longer time where nothing was found", () => {
    expect(wider(meant(read("last=1h"), NOW))).toBe("6h");
    expect(wider(meant(read("last=30d"), NOW))).toBeUndefined();
  });
});

describe("samples over time", () => {
  const steps = [0, 30, 60].map((second) => ({
    at: `2026-01-08T12:0${second / 30}:00Z`,
    samples: second,
    profiles: 1,
  }));

  test("are bars, of which the highest fills the height", () => {
    expect(bars(steps).map((bar) => [bar.x, bar.height])).toEqual([
      [0, 0],
      [1 / 3, 0.5],
      [2 / 3, 1],
    ]);
    expect(bars([])).toEqual([]);
  });

  test("have a range picked in either direction, with the whole last step", () => {
    const range = { start: "2026-01-08T12:00:00Z", end: "2026-01-08T12:02:00Z" };
    expect(picked(steps, 60, 1, 0)).toEqual(range);
    expect(picked(steps, 60, 0, 1)).toEqual(range);
    expect(picked(steps, 60, 0, 9)).toBeUndefined();
  });
});
