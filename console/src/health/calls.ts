// What the health page asks for.
import { client, everything, good, Refused } from "../api";
import type { components } from "../schema";
import { type Left, left } from "./rules";

export type Letter = components["schemas"]["DeadLetterView"];
export type Role = components["schemas"]["RoleView"];
export type Readiness = components["schemas"]["Readiness"];

/** Whether the server has what it needs. What is not there is an answer too, and no refusal. */
export async function readiness(): Promise<Readiness> {
  let answer: Awaited<ReturnType<typeof ask>>;
  const ask = () => client.GET("/readyz");
  try {
    answer = await ask();
  } catch {
    throw new Refused(0, "The server cannot be reached. It is tried again by itself.");
  }
  const told = answer.data ?? answer.error;
  if (told !== undefined && "checks" in told) return told;
  throw new Refused(answer.response.status, `The server answered ${answer.response.status}.`);
}

export const roles = () => good(client.GET("/api/v1/roles"));

export const letters = () =>
  everything<Letter>((cursor) =>
    good(client.GET("/api/v1/dead_letters", { params: { query: { limit: 1_000, sort: "-at", cursor } } })),
  );

export const replay = (letter_id: string) =>
  good(client.POST("/api/v1/dead_letters/{letter_id}/replay", { params: { path: { letter_id } } }));

const shares = new Map<string, Left>();

client.use({
  onResponse({ response }) {
    for (const each of left(response.headers.get("RateLimit-Policy"), response.headers.get("RateLimit")))
      shares.set(each.lane, each);
  },
});

/** What is left of this token's share in each lane, as the last answers of this tab said. */
export const leftOver = (): Left[] => [...shares.values()].sort((a, b) => a.lane.localeCompare(b.lane));
