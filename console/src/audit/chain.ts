// Following the chain of audit records here, in the browser: a server that lies about a record cannot hash it right.
import type { Link } from "./rules";

export interface Point {
  number: number;
  hash: string;
}

export interface Part {
  checkpoint: Point;
  head: Point;
  links: readonly Link[];
  next_cursor?: string | null;
}

export interface Verdict {
  ok: boolean;
  begins: number;
  ends: number;
  head: string;
  unreadable: number;
  reason: string;
}

/** A record's body as the server hashed it: JSON with sorted names, no blanks, all beyond ASCII escaped. */
export function canonical(body: Record<string, string>): string {
  const text = (value: string) =>
    JSON.stringify(value).replace(
      /[\u007f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  const points = (value: string) => [...value].map((each) => each.codePointAt(0) as number);
  const order = (a: string, b: string) => {
    const [one, other] = [points(a), points(b)];
    const at = one.findIndex((point, number) => point !== other[number]);
    return at < 0 ? one.length - other.length : (one[at] as number) - (other[at] ?? -1);
  };
  const names = Object.keys(body).sort(order);
  return `{${names.map((name) => `${text(name)}:${text(body[name] as string)}`).join(",")}}`;
}

async function sha256(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function fault(before: Point, link: Link): Promise<string> {
  const number = String(before.number + 1);
  if (link.number !== number) return `in its place is a record of number ${link.number}`;
  if (link.prev !== before.hash) return "it was not written after the record before it";
  if (link.body && (await sha256(canonical(link.body))) !== link.digest) return "it is not as it was written";
  if (link.hash !== (await sha256(`${link.number}\n${link.prev}\n${link.digest}`)))
    return "it is not as it was written";
  return "";
}

/** Follow the whole chain from its checkpoint to its head. Parts that were trimmed meanwhile have it begin anew, once. */
export async function verify(ask: (cursor: string | undefined) => Promise<Part>, tries = 3): Promise<Verdict> {
  let part = await ask(undefined);
  const begins = part.checkpoint;
  let at = begins;
  let unreadable = 0;
  const verdict = (reason: string): Verdict => ({
    ok: reason === "",
    begins: begins.number,
    ends: at.number,
    head: at.hash,
    unreadable,
    reason,
  });
  for (;;) {
    if (part.checkpoint.number > at.number && tries > 1) return verify(ask, tries - 1);
    for (const link of part.links) {
      const reason = await fault(at, link);
      if (reason) return verdict(`Record ${at.number + 1}: ${reason}.`);
      at = { number: at.number + 1, hash: link.hash };
      unreadable += link.body ? 0 : 1;
    }
    if (!part.next_cursor) break;
    part = await ask(part.next_cursor);
  }
  if (at.number !== part.head.number)
    return verdict(`Record ${at.number + 1} is missing; the chain was written up to record ${part.head.number}.`);
  return verdict(at.hash === part.head.hash ? "" : `Record ${at.number} is not the one that the chain ended with.`);
}
