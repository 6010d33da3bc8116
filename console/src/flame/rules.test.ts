import { describe, expect, test } from "vitest";
import { byChange } from "./colours";
import { local, utc } from "./compare";
import { fitted, picture } from "./picture";
import { change, changes, compared, gained, inOrder, matched, table } from "./rules";
import {
  aroundRequest,
  BASE,
  based,
  earlier,
  isSaid,
  isWhole,
  NOTHING,
  narrowed,
  query,
  read,
  type Selection,
  swapped,
} from "./selection";
import { mark, PLAIN, pathOf, readView, writeView } from "./view";

const root = {
  name: "root",
  value: 10,
  children: [
    { name: "main", value: 8, children: [{ name: "work", value: 6, children: [{ name: "main", value: 2 }] }] },
    { name: "idle", value: 2 },
  ],
};

describe("a flame graph", () => {
  test("is a table in which a function that calls itself counts once", () => {
    expect(table(root)).toEqual([
      { name: "main", self: 4, total: 8 },
      { name: "work", self: 4, total: 6 },
      { name: "idle", self: 2, total: 2 },
    ]);
    expect(inOrder(table(root), "total").map((line) => line.total)).toEqual([8, 6, 2]);
  });

  test("says how much a search matches, and no sample twice", () => {
    expect(matched(root, "MAIN")).toBe(0.8);
    expect(matched(root, "work")).toBe(0.6);
    expect(matched(root, " ")).toBe(0);
  });
});

describe("a selection", () => {
  const of: Selection = {
    service: "a b",
    start: "2026-01-08T11:00:00Z",
    end: "2026-01-08T13:00:00Z",
    where: { hostname: ["h1", "h2"], request_id: ["r"] },
  };

  test("has an address that it can be read from again, with its base", () => {
    const base: Selection = { ...NOTHING, where: { hostname: ["h3"] } };
    expect(read(`?${query(of, base)}`)).toEqual(of);
    expect(read(`?${query(of, base)}`, BASE)).toEqual(base);
    expect([isSaid(base), isSaid(read(query(of), BASE)), isWhole(of), isWhole(NOTHING)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  test("is compared with the time just before, of equal length, or with the same time of another day", () => {
    expect(earlier(of)).toMatchObject({ start: "2026-01-08T09:00:00Z", end: of.start, where: {} });
    expect(earlier(of, 86_400_000)).toMatchObject({ start: "2026-01-07T11:00:00Z", end: "2026-01-07T13:00:00Z" });
  });

  test("gives its base what the base leaves unsaid, and changes places with it", () => {
    const base: Selection = { ...NOTHING, service: "other", where: { hostname: ["h3"] } };
    const whole = based(of, base);
    expect(whole).toEqual({ ...of, service: "other", where: { hostname: ["h3"], request_id: ["r"] } });
    expect(swapped(of, base)).toEqual([whole, of]);
  });

  test("says in words what narrows it", () => {
    expect(narrowed(of)).toEqual(["2 hosts", "request r"]);
    expect(narrowed({ ...of, where: { profiling_mode: ["cpu"] } })).toEqual(["cpu"]);
  });

  test("of a request is whole hours around it, and no more than the server allows", () => {
    const now = Date.parse("2026-01-08T12:10:00Z");
    expect(aroundRequest("2026-01-08T12:05:00Z", now)).toEqual({
      start: "2026-01-08T11:00:00Z",
      end: "2026-01-08T14:00:00Z",
    });
    const later = aroundRequest("2026-01-08T12:05:00Z", now + 400 * 86_400_000);
    expect(Date.parse(later.end) - Date.parse(later.start)).toBe(30 * 86_400_000);
  });

  test("keeps its seconds where nobody touched the input of a time", () => {
    const moment = "2026-01-08T11:00:42Z";
    expect(utc(local(moment), moment)).toBe(moment);
    expect(utc("", moment)).toBe(moment);
    expect(utc(local("2026-01-08T12:30:00Z"), moment)).toBe("2026-01-08T12:30:00Z");
  });
});

describe("a view", () => {
  test("stands in the address but for what is as it always is", () => {
    const view = { shown: "sandwich", isUp: true, q: "a b", fn: "main", zoom: "abc" } as const;
    expect(readView(`?service=x&${writeView(view)}`)).toEqual(view);
    expect(writeView(PLAIN)).toBe("");
    expect(readView("?view=nonsense").shown).toBe("both");
  });

  test("finds the frame that was zoomed again by the mark of its path, and nothing by another's", () => {
    const path = ["main", "work", "main"];
    expect(mark(path)).toMatch(/^[0-9a-f]{13}$/);
    expect(pathOf(root, mark(path))).toEqual(path);
    expect(pathOf(root, mark(["main"]))).toEqual(["main"]);
    expect(pathOf(root, mark(["work"]))).toEqual([]);
    expect(pathOf(root, "")).toEqual([]);
  });
});

describe("two selections", () => {
  const two = compared({
    name: "all",
    value: 10,
    base: 200,
    children: [
      { name: "grown", value: 6, base: 20, children: [] },
      { name: "gone", value: 0, base: 100, children: [] },
      { name: "same", value: 4, base: 80, children: [] },
    ],
  });

  test("are compared by shares, whatever the number of samples in each", () => {
    expect(two.children?.map((frame) => frame.shares)).toEqual([
      { now: 0.6, base: 0.1 },
      { now: 0, base: 0.5 },
      { now: 0.4, base: 0.4 },
    ]);
    expect(two.children?.map((frame) => frame.value)).toEqual([0.35, 0.25, 0.4]);
    expect(changes(two).map((each) => each.name)).toEqual(["gone", "grown", "same"]);
  });

  test("of which one is empty are told as gone or new", () => {
    const gone = compared({ name: "all", value: 0, base: 4, children: [{ name: "f", value: 0, base: 4 }] });
    expect(gone.children?.[0]?.shares).toEqual({ now: 0, base: 1 });
    expect(gained({ now: 0, base: 1 })).toBe(-1);
    expect(gained({ now: 0.2, base: 0 })).toBe(1);
  });

  test("say how they differ by a sign too, not by a colour alone", () => {
    expect(change({ now: 0.6, base: 0.1 })).toBe("▲ +50.00");
    expect(change({ now: 0.1, base: 0.125 })).toBe("▼ −2.50");
    expect(change({ now: 0.1004, base: 0.1 })).toBe("= 0");
    expect(new Set([-1, -0.5, 0, 0.5, 1].map(byChange)).size).toBe(5);
  });
});

describe("a picture", () => {
  const box = { x: 0, y: 20, width: 100, fill: "hsl(8 90% 70%)", words: "", label: "" };

  test("is an SVG whatever functions are called", () => {
    const made = picture([{ ...box, label: '<a&"\u0000', words: "\ud800 </title><script>" }], "a & b");
    expect(made).toContain("&lt;a&amp;&quot;\ufffd");
    expect(made).toContain("<title>\ufffd &lt;/title&gt;&lt;script&gt;</title>");
    expect(made).not.toContain("<script>");
  });

  test("writes as much of a name as fits", () => {
    expect(fitted("a_long_function_name", 60)).toBe("a_long_…");
    expect(fitted("main", 60)).toBe("main");
    expect(fitted("main", 12)).toBe("");
  });
});
