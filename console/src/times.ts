// Moments as the reader's own clock shows them.

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const TO_THE_SECOND = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_MS = 10 * 60_000;

export const clock = (at: number): string => CLOCK.format(at);
export const moment = (at: number): string => `${DAY.format(at)}, ${CLOCK.format(at)}`;

/** From when to when; the day is said once where it is one, and seconds where it is a matter of minutes. */
export function stretch(start: number, end: number): string {
  const day = DAY.format(start);
  const told = end - start < SHORT_MS ? (at: number) => TO_THE_SECOND.format(at) : clock;
  if (DAY.format(end) === day) return `${day}, ${told(start)} – ${told(end)}`;
  return `${moment(start)} – ${moment(end)}`;
}
