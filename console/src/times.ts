// Moments as the reader's own clock shows them.

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export const clock = (at: number): string => CLOCK.format(at);
export const moment = (at: number): string => `${DAY.format(at)}, ${CLOCK.format(at)}`;

/** From when to when; the day is said once where it is one. */
export function stretch(start: number, end: number): string {
  const day = DAY.format(start);
  if (DAY.format(end) === day) return `${day}, ${clock(start)} – ${clock(end)}`;
  return `${moment(start)} – ${moment(end)}`;
}
