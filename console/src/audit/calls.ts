// What the audit page asks for.
import { client, good } from "../api";
import type { components } from "../schema";
import type { Filters, Link } from "./rules";

export type Item = components["schemas"]["AuditItem"];

/** A page of records, the newest first. */
export const records = (filters: Filters, cursor: string | undefined, limit = 100) =>
  good(
    client.GET("/api/v1/audit", {
      params: {
        query: {
          limit,
          cursor,
          ...(filters.actor && { actor: filters.actor }),
          ...(filters.action && { action: filters.action }),
          ...(filters.outcome && { outcome: filters.outcome as Item["outcome"] }),
          ...(filters.service && { service_name: filters.service }),
          ...(filters.object && { object: filters.object }),
          ...(filters.since && { since: filters.since }),
          ...(filters.until && { until: filters.until }),
        },
      },
    }),
  );

const MOST_EXPORTED = 100_000;

/** Every record that fits, page after page; at most a hundred thousand. */
export async function allRecords(filters: Filters): Promise<{ items: Item[]; isCut: boolean }> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const page = await records(filters, cursor, 1_000);
    items.push(...page.items);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined && items.length < MOST_EXPORTED);
  return { items, isCut: cursor !== undefined };
}

/** Part of the chain behind a cursor, oldest first. */
export const chain = (cursor: string | undefined) =>
  good(client.GET("/api/v1/audit/chain", { params: { query: { limit: 1_000, cursor } } })) as Promise<{
    partition: number;
    checkpoint: { number: number; hash: string };
    head: { number: number; hash: string };
    links: Link[];
    next_cursor?: string | null;
  }>;
