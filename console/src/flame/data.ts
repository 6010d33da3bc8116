// What the flame graph's page asks the API for.
import { type Answer, client, good } from "../api";
import type { components } from "../schema";
import { asked, BASE, pairs, type Selection } from "./selection";

export type Tree = components["schemas"]["FlameGraph"];
export type Difference = components["schemas"]["Difference"];
export type Calls = components["schemas"]["FunctionCalls"];

// The routes have other formats too: the paths say which one, and the types do not.
export const flamegraph = (of: Selection) =>
  good(client.GET("/api/v1/flamegraph.json", { params: { query: asked(of) } }) as Promise<Answer<Tree>>);

export const difference = (of: Selection, base: Selection) => {
  const more: Record<string, string[]> = {};
  for (const [name, value] of pairs(base, BASE)) more[name] = [...(more[name] ?? []), value];
  const query = { ...asked(of), ...more };
  return good(client.GET("/api/v1/flamegraph/diff.json", { params: { query } }) as Promise<Answer<Difference>>);
};

/** As speedscope reads it: text, which is handed on as it is. */
export const speedscope = (of: Selection) =>
  good(
    client.GET("/api/v1/flamegraph.speedscope.json", { params: { query: asked(of) }, parseAs: "text" }) as Promise<
      Answer<string>
    >,
  );

export const functions = (of: Selection, sort: "-self" | "-total") =>
  good(client.GET("/api/v1/flamegraph/functions", { params: { query: { ...asked(of), sort, limit: 1_000 } } }));

export const calls = (of: Selection, name: string) =>
  good(
    client.GET("/api/v1/flamegraph/function", { params: { query: { ...asked(of), name } } }) as Promise<Answer<Calls>>,
  );
