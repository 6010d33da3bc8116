// What the page of schedules asks for.
import { client, everything, good } from "../api";
import type { components } from "../schema";

export type Schedule = components["schemas"]["ScheduleRow"];
export type ScheduleView = components["schemas"]["ScheduleView"];
export type Plan = components["schemas"]["SchedulePlan"];
export type Stored = components["schemas"]["ScheduleStored"];

export const schedules = () =>
  everything<Schedule>((cursor) =>
    good(client.GET("/api/v1/schedules", { params: { query: { limit: 1_000, cursor } } })),
  );

export const schedule = (schedule_id: string) =>
  good(client.GET("/api/v1/schedules/{schedule_id}", { params: { path: { schedule_id } } }));

/** When it would fire next; nothing is changed. */
export const plan = (schedule_id: string) =>
  good(
    client.PATCH("/api/v1/schedules/{schedule_id}", {
      params: { path: { schedule_id } },
      body: { dry_run: true },
    }),
  ) as Promise<Plan>;

export const change = (schedule_id: string, part: { enabled?: boolean; cron?: string; timezone?: string }) =>
  good(
    client.PATCH("/api/v1/schedules/{schedule_id}", { params: { path: { schedule_id } }, body: part }),
  ) as Promise<Stored>;

export const remove = (schedule_id: string) =>
  good(client.DELETE("/api/v1/schedules/{schedule_id}", { params: { path: { schedule_id } } }));
