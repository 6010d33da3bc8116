// What the colours and signs of a comparison mean.
import { byChange } from "./colours";

const STEPS = [
  [-1, "▼ gone"],
  [-0.5, "▼ half"],
  [0, "= same"],
  [0.5, "▲ double"],
  [1, "▲ new"],
] as const;

export function Legend({ now, base }: { now: number; base: number }) {
  return (
    <div className="legend">
      <ul aria-label="What the colours mean">
        {STEPS.map(([gain, words]) => (
          <li key={gain}>
            <svg width="14" height="14" aria-hidden="true">
              <rect width="14" height="14" fill={byChange(gain)} />
            </svg>
            {words}
          </li>
        ))}
      </ul>
      <span className="dim">
        Shares are compared, of {base.toLocaleString("en")} samples then and {now.toLocaleString("en")} now. A frame is
        as wide as the mean of both; the number is the change in points of a percent.
      </span>
    </div>
  );
}
