// Colours of frames. Black is read on each of them. Pure.
import { type Frame, gained } from "./rules";

export const MATCHED = "hsl(300 85% 72%)";

/** By name: the same function has the same colour in every graph. */
export function byName(name: string): string {
  let hash = 0;
  for (let at = 0; at < name.length; at++) hash = (hash * 31 + name.charCodeAt(at)) | 0;
  return `hsl(${12 + (Math.abs(hash) % 46)} 80% ${66 + (Math.abs(hash >> 8) % 12)}%)`;
}

/** By what was gained (1: red) or lost (-1: blue); grey is no change. */
export function byChange(gain: number): string {
  const much = Math.round(Math.min(1, Math.abs(gain)) * 100);
  if (gain === 0) return "hsl(220 8% 80%)";
  return gain > 0
    ? `hsl(8 ${35 + much * 0.55}% ${84 - much * 0.18}%)`
    : `hsl(212 ${35 + much * 0.5}% ${84 - much * 0.16}%)`;
}

export const colourOf = (frame: Frame): string =>
  frame.shares === undefined ? byName(frame.name) : byChange(gained(frame.shares));
