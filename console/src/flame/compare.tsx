// What a flame graph is compared with: an earlier time by a click, or any other selection by a form.
import { useState } from "react";
import { Dialog } from "../parts";
import { based, earlier, iso, NOTHING, type Selection } from "./selection";

const DAY = 86_400_000;
const EARLIER = [
  ["The period just before", undefined],
  ["The same time a day earlier", DAY],
  ["The same time a week earlier", 7 * DAY],
] as const;

export function Compare({ of, onBase }: { of: Selection; onBase: (base: Selection) => void }) {
  const [isAsking, setAsking] = useState(false);
  return (
    <>
      <button type="button" onClick={() => setAsking(true)}>
        Compare…
      </button>
      {isAsking && (
        <Dialog title="Compare with" onClose={() => setAsking(false)}>
          <div className="choices">
            {EARLIER.map(([name, by]) => (
              <button type="button" key={name} onClick={() => onBase(earlier(of, by))}>
                {name}
              </button>
            ))}
          </div>
          <Other of={of} onBase={onBase} />
        </Dialog>
      )}
    </>
  );
}

/** Any other selection: what is left empty is as in this one. */
function Other({ of, onBase }: { of: Selection; onBase: (base: Selection) => void }) {
  const [service, setService] = useState("");
  const [host, setHost] = useState("");
  const [request, setRequest] = useState("");
  const [start, setStart] = useState(local(of.start));
  const [end, setEnd] = useState(local(of.end));
  const where = { ...(host ? { hostname: [host] } : {}), ...(request ? { request_id: [request] } : {}) };
  const said: Selection = { service, start: utc(start, of.start), end: utc(end, of.end), where };
  const whole = based(of, said);
  const isTime = Date.parse(whole.start) < Date.parse(whole.end);
  return (
    <fieldset>
      <legend>Another selection; what is empty is as in this one</legend>
      <div className="fields">
        <Field name="Service" value={service} hint={of.service} set={setService} />
        <Field name="Host" value={host} hint={of.where.hostname?.join(", ") ?? "all"} set={setHost} />
        <Field name="Request" value={request} hint={of.where.request_id?.join(", ") ?? "any"} set={setRequest} />
        <Field name="From" type="datetime-local" value={start} set={setStart} />
        <Field name="To" type="datetime-local" value={end} set={setEnd} />
      </div>
      {!isTime && <p className="warn">“To” has to be later than “From”.</p>}
      <button type="button" className="main" disabled={!isTime} onClick={() => onBase({ ...NOTHING, ...said })}>
        Compare with it
      </button>
    </fieldset>
  );
}

function Field(props: { name: string; value: string; set: (to: string) => void; hint?: string; type?: string }) {
  return (
    <label>
      {props.name}
      <input
        type={props.type ?? "text"}
        placeholder={props.hint}
        value={props.value}
        onChange={(event) => props.set(event.target.value)}
      />
    </label>
  );
}

/** As an input of a time wants it: the reader's own clock, without an offset. */
export function local(moment: string): string {
  const at = new Date(moment);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The moment of an input, or the one it began with where nobody touched it or it is half written. */
export function utc(input: string, before: string): string {
  if (input === local(before) || Number.isNaN(Date.parse(input))) return before;
  return iso(Date.parse(input));
}
