// What the form sends: a request, or a schedule of one; or it only tries.
import { client, good, submit } from "../api";
import type { Plan } from "../schedules/calls";
import { type Form, scheduleWish, wish } from "./rules";

export interface Tried {
  hosts: number | null;
  next: string[];
  warnings: string[];
}

const makeSchedule = (body: Record<string, unknown>, key?: string) =>
  good(
    client.POST("/api/v1/schedules", {
      body: body as never, // the form's rules make it, and the server judges it
      headers: key === undefined ? {} : { "Idempotency-Key": key },
    }),
  );

const changeSchedule = (schedule_id: string, body: Record<string, unknown>) =>
  good(
    client.PATCH("/api/v1/schedules/{schedule_id}", {
      params: { path: { schedule_id } },
      body: body as never, // as above
    }),
  );

/** Have the server judge it; nothing is changed. `of`: the schedule that it is to be; empty: a new one. */
export async function attempt(form: Form, of: string): Promise<Tried> {
  if (form.when === "schedule") {
    const body = { ...scheduleWish(form), dry_run: true };
    const told = (await (of ? changeSchedule(of, body) : makeSchedule(body))) as Plan;
    return { hosts: null, next: told.next_firings, warnings: told.warnings ?? [] };
  }
  const told = await submit({ ...wish(form), dry_run: true });
  return { hosts: told.hosts, next: [], warnings: told.warnings ?? [] };
}

/** Do it; gives the address of what was made. */
export async function send(form: Form, key: string, of: string): Promise<string> {
  if (form.when === "schedule") {
    await (of ? changeSchedule(of, scheduleWish(form)) : makeSchedule(scheduleWish(form), key));
    return "/schedules";
  }
  return `/requests/${(await submit(wish(form), key)).request_id}`;
}
