// What the form sends: a request, or a schedule of one; or it only tries.
import { client, good, submit } from "../api";
import type { Plan, Stored } from "../schedules/calls";
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

/** Have the server judge it; nothing is changed. */
export async function attempt(form: Form): Promise<Tried> {
  if (form.when === "schedule") {
    const told = (await makeSchedule({ ...scheduleWish(form), dry_run: true })) as Plan;
    return { hosts: null, next: told.next_firings, warnings: told.warnings ?? [] };
  }
  const told = await submit({ ...wish(form), dry_run: true });
  return { hosts: told.hosts, next: [], warnings: told.warnings ?? [] };
}

/** Do it; gives the address of what was made. */
export async function send(form: Form, key: string): Promise<string> {
  if (form.when === "schedule") {
    (await makeSchedule(scheduleWish(form), key)) as Stored;
    return "/schedules";
  }
  return `/requests/${(await submit(wish(form), key)).request_id}`;
}
