// The public REST API, by the types of its own document. The sign-in is a cookie that this script cannot read.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Host = components["schemas"]["HostView"];
export type CommandRow = components["schemas"]["CommandRow"];
export type RequestStatus = components["schemas"]["RequestStatus"];
export type RequestSummary = components["schemas"]["RequestSummary"];
export type OnHost = components["schemas"]["RequestOnHost"];
export type Accepted = components["schemas"]["RequestAccepted"];
export type Me = components["schemas"]["TokenView"];
export type Problem = components["schemas"]["Problem"];

/** A refusal of the server in its own words, or that it cannot be reached. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problem?: Problem,
  ) {
    super(message);
  }
}

// Pages of other sites cannot send this header: it is what a change with a cookie needs.
export const client = createClient<paths>({
  headers: { "X-Studio-Page": "1" },
  querySerializer: { array: { style: "form", explode: true } },
});

export type Answer<T> = { data?: T; error?: unknown; response: Response };

/** The body of a good answer. A refusal is thrown, in words for people. */
export async function good<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch {
    throw new Refused(0, "The server cannot be reached. It is tried again by itself.");
  }
  if (answer.data !== undefined && answer.response.ok) return answer.data;
  throw refusal(answer.response.status, answer.error);
}

/** What a refusal says: its detail, and each field at fault. */
export function refusal(status: number, body: unknown): Refused {
  if (typeof body === "object" && body !== null && "title" in body) {
    const problem = body as Problem;
    const faults = (problem.errors ?? []).map((fault) => `${fault.field}: ${fault.message}`);
    return new Refused(status, [problem.detail || problem.title, ...faults].join(" · "), problem);
  }
  return new Refused(status, `The server answered ${status}.`);
}

/** Every item of a list, page after page. */
export async function everything<T>(
  page: (cursor: string | undefined) => Promise<{ items: T[]; next_cursor?: string | null }>,
): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  do {
    const next = await page(cursor);
    found.push(...next.items);
    cursor = next.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}

export const signIn = (token: string) =>
  good(client.POST("/api/v1/session", { headers: { Authorization: `Bearer ${token}` } }));
export const ways = () => good(client.GET("/api/v1/session/ways"));
export const signOut = () => good(client.DELETE("/api/v1/session"));
export const whoAmI = () => good(client.GET("/api/v1/tokens/self"));
export const hosts = () =>
  everything<Host>((cursor) => good(client.GET("/api/v1/hosts", { params: { query: { limit: 10_000, cursor } } })));
export const commands = () =>
  everything<CommandRow>((cursor) =>
    good(client.GET("/api/v1/commands", { params: { query: { limit: 1_000, cursor } } })),
  );
export const requests = (limit: number) => good(client.GET("/api/v1/requests", { params: { query: { limit } } }));
/** A request, with the first thousand of its hosts, by name; its counts are of all. */
export const request = (request_id: string) =>
  good(client.GET("/api/v1/requests/{request_id}", { params: { path: { request_id } } }));
/** Every host of a request that stands in one of these states, however many hosts it has. */
export const hostsOf = (request_id: string, status: OnHost["status"][]) =>
  everything<OnHost>((cursor) =>
    good(
      client.GET("/api/v1/requests/{request_id}/hosts", {
        params: { path: { request_id }, query: { status, limit: 10_000, cursor } },
      }),
    ),
  );
export const cancel = (request_id: string) =>
  good(client.DELETE("/api/v1/requests/{request_id}", { params: { path: { request_id } } }));

/** A body of `POST /api/metrics/profile_request`. */
export type Wish = Record<string, unknown>;

/** Submit, or only try. The key makes a repeated click one request. */
export const submit = (wish: Wish, key?: string) =>
  good(
    client.POST("/api/metrics/profile_request", {
      body: wish as never, // the form's rules make it, and the server judges it
      headers: key === undefined ? {} : { "Idempotency-Key": key },
    }) as Promise<Answer<Accepted>>,
  );
