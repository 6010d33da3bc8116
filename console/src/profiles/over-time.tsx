// Samples over time as bars. A range is picked by dragging over them, or with two sliders by the keyboard.
import { useMemo, useRef, useState } from "react";
import { useWidth } from "../parts";
import { clock, moment, stretch } from "../times";
import { count } from "../words";
import type { Timeline } from "./data";
import { bars, picked } from "./rules";

const HEIGHT = 90;

interface Props {
  of: Timeline;
  /** It is of another time than is meant, until the answer comes: nothing is picked on it. */
  isStale: boolean;
  onPick: (range: { start: string; end: string }) => void;
}

export function OverTime({ of, isStale, onPick }: Props) {
  const [at, width] = useWidth<HTMLDivElement>();
  const steps = of.items;
  const drawn = useMemo(() => bars(steps), [steps]);
  // As moments: a time that ends now moves on below it.
  const [range, setRange] = useState<{ start: string; end: string }>();
  const anchor = useRef(0);
  const most = steps.toSorted((a, b) => b.samples - a.samples)[0];
  const first = steps[0];
  if (first === undefined || most === undefined) return null;
  const from = Date.parse(first.at);
  const until = Date.parse(steps.at(-1)?.at ?? first.at) + of.step * 1_000;
  const stepAt = (event: React.PointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.min(steps.length - 1, Math.max(0, Math.floor(share * steps.length)));
  };
  const share = (moment: string) => Math.min(1, Math.max(0, (Date.parse(moment) - from) / (until - from)));
  const [low, high] = range ? [share(range.start), share(range.end)] : [0, 1];
  const ends = [Math.round(low * steps.length), Math.max(0, Math.round(high * steps.length) - 1)] as const;
  const pick = (one: number, other: number) => {
    if (!isStale) setRange(picked(steps, of.step, one, other));
  };
  const unit = of.unit.slice(0, -1);
  const words = `${count(of.samples, unit)} from ${moment(from)} to ${moment(until)}; most, ${count(most.samples, unit)}, in the ${of.step} s from ${moment(Date.parse(most.at))}`;
  return (
    <section className="over-time" aria-label="Samples over time" aria-busy={isStale} ref={at}>
      <div className="bar">
        <h2>Samples over time</h2>
        <span className="dim">{count(of.samples, unit)}; drag over the bars to pick a time</span>
        <span className="grow" />
        {range && (
          <>
            <span role="status">{stretch(Date.parse(range.start), Date.parse(range.end))}</span>
            <button
              type="button"
              className="main"
              onClick={() => {
                setRange(undefined);
                onPick(range);
              }}
            >
              Look at this time
            </button>
            <button type="button" onClick={() => setRange(undefined)}>
              Drop it
            </button>
          </>
        )}
      </div>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={words}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          anchor.current = stepAt(event);
          pick(anchor.current, anchor.current);
        }}
        onPointerMove={(event) => {
          if (event.buttons === 1) pick(anchor.current, stepAt(event));
        }}
      >
        {range && <rect className="range" x={low * width} width={(high - low) * width} height={HEIGHT} />}
        {drawn.map(({ x, width: wide, height, step }) => (
          <rect
            key={step.at}
            className={step.samples > 0 ? "step" : ""}
            x={x * width}
            y={HEIGHT - Math.max(step.samples > 0 ? 2 : 0, height * HEIGHT)}
            width={Math.max(1, wide * width - 1)}
            height={Math.max(step.samples > 0 ? 2 : 0, height * HEIGHT)}
          >
            <title>{`${moment(Date.parse(step.at))}: ${count(step.samples, unit)} in ${count(step.profiles, "profile")}`}</title>
          </rect>
        ))}
      </svg>
      <div className="axis dim" aria-hidden="true">
        <span>{moment(from)}</span>
        <span>{until - from < 86_400_000 * 2 ? clock((from + until) / 2) : moment((from + until) / 2)}</span>
        <span>{moment(until)}</span>
      </div>
      <div className="ends">
        {(["From", "To"] as const).map((name, which) => (
          <label key={name} className="check">
            {name}
            <input
              type="range"
              min={0}
              max={steps.length - 1}
              value={ends[which] ?? 0}
              aria-valuetext={moment(from + ((ends[which] ?? 0) + which) * of.step * 1_000)}
              onChange={(event) => {
                const to = event.target.valueAsNumber;
                if (which === 0) pick(to, Math.max(to, ends[1]));
                else pick(Math.min(ends[0], to), to);
              }}
            />
          </label>
        ))}
      </div>
    </section>
  );
}
