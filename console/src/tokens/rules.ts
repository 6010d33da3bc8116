// What the page of tokens makes of them: how each stands, and the wish for a new one. Pure.
import type { Token, Wish } from "./calls";

export type Standing = "good" | "revoked" | "expired" | "used up";

export function standing(token: Token, now: number): Standing {
  if (token.revoked_at) return "revoked";
  if (token.expires_at && Date.parse(token.expires_at) <= now) return "expired";
  if (token.max_uses && (token.uses ?? 0) >= token.max_uses) return "used up";
  return "good";
}

export const KINDS: Record<Wish["kind"], string> = {
  viewer: "looks at hosts, requests and profiles; of every service it is an auditor's",
  operator: "asks for profiles, cancels, schedules and replays",
  agent: "is what the agents of a fleet send",
  enrolment: "buys each new host a credential of its own, a number of times",
  admin: "does everything; of every service it makes tokens too",
};

export const LIVES: [string, number | null][] = [
  ["1 day", 86_400],
  ["30 days", 2_592_000],
  ["90 days", 7_776_000],
  ["1 year", 31_536_000],
  ["never ends", null],
];

export const OVERLAPS: [string, number][] = [
  ["ends at once", 0],
  ["is good for 1 hour more", 3_600],
  ["is good for 1 day more", 86_400],
  ["is good for 7 days more", 604_800],
];

export interface Form {
  kind: Wish["kind"];
  services: string;
  name: string;
  description: string;
  expires_in: number | null;
  max_uses: number;
}

export const NEW: Form = {
  kind: "viewer",
  services: "",
  name: "",
  description: "",
  expires_in: 7_776_000,
  max_uses: 100,
};

/** Services as people write them: with commas or blanks. */
export const servicesOf = (text: string): string[] => text.match(/[^\s,]+/g) ?? [];

/** What is wrong with a form, in words; empty: nothing. */
export function fault(form: Form): string {
  if (form.name.trim() === "") return "Give it a name: who uses it, and where.";
  if (servicesOf(form.services).length === 0) return "Say which services it covers; * is all of them.";
  if (form.kind === "enrolment" && (!Number.isInteger(form.max_uses) || form.max_uses < 1 || form.max_uses > 1_000_000))
    return "It enrols 1 to 1,000,000 hosts.";
  return "";
}

export const wish = (form: Form): Wish => ({
  kind: form.kind,
  services: servicesOf(form.services),
  name: form.name.trim(),
  description: form.description.trim(),
  ...(form.expires_in === null ? {} : { expires_in: form.expires_in }),
  ...(form.kind === "enrolment" ? { max_uses: form.max_uses } : {}),
});
