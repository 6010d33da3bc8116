// The parts of the form: for whom, what, how many at a time, and when.
import { useId, useState } from "react";
import type { Row } from "../fleet/rules";
import { useNames } from "../fleet/workload-data";
import { fromLocal, toLocal } from "../audit/rules";
import { useRights } from "../session";
import { count } from "../words";
import {
  ENTITY_FIELDS,
  type Entity,
  type EntityField,
  type Form,
  isOn,
  type Preview,
  SCOPES,
  type Scope,
} from "./rules";

export interface Part {
  form: Form;
  change: (part: Partial<Form>) => void;
}

const NAMES: Record<EntityField, string> = {
  namespace: "Namespace",
  workload_name: "Workload",
  pod_name: "Pod",
  container_name: "Container",
  process_name: "Process, by name",
  pid: "Process, by pid",
  hostname: "On the host",
};

const SCOPE_NAMES: Record<Scope, string> = {
  host: "the chosen hosts",
  service: "every host of the service",
  namespace: "namespaces",
  workload: "workloads",
  pod: "pods",
  container: "containers",
  process: "processes",
};

export function Whom({
  form,
  change,
  services,
  hosts,
}: Part & { services: readonly string[]; hosts: readonly string[] }) {
  return (
    <>
      <div className="fields">
        <label>
          What to do
          <select value={form.command} onChange={(event) => change({ command: event.target.value as Form["command"] })}>
            <option value="start">profile</option>
            <option value="stop">stop what is profiled</option>
          </select>
        </label>
        <label>
          Service
          <select value={form.service} onChange={(event) => change({ service: event.target.value })}>
            {services.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          For
          <select value={form.scope} onChange={(event) => change({ scope: event.target.value as Scope })}>
            {SCOPES.filter((scope) => scope !== "host" || form.hosts.length > 0).map((scope) => (
              <option key={scope} value={scope}>
                {SCOPE_NAMES[scope]}
              </option>
            ))}
          </select>
        </label>
      </div>
      {form.scope !== "host" && form.scope !== "service" && (
        <Entities form={form} change={change} scope={form.scope} hosts={hosts} />
      )}
    </>
  );
}

/** A field with the names that are known: of what runs in the service, narrowed by the fields beside it. */
function Named(the: {
  name: EntityField;
  service: string;
  hosts: readonly string[];
  said: Entity;
  hint: string;
  set: (text: string) => void;
}) {
  const list = useId();
  const [isHere, setHere] = useState(false); // asked for once somebody is about to write here
  const { pid: _, ...said } = the.said;
  const names = useNames(isHere ? the.service : "", the.name, said);
  const known = the.name === "hostname" ? the.hosts.slice(0, 1_000) : names;
  return (
    <>
      <label>
        {NAMES[the.name]}
        <input
          type="text"
          spellCheck={false}
          autoComplete="off"
          list={list}
          placeholder={the.hint}
          value={the.said[the.name] ?? ""}
          onFocus={() => setHere(true)}
          onChange={(event) => the.set(event.target.value)}
        />
      </label>
      <datalist id={list}>{isHere && known.map((each) => <option key={each} value={each} />)}</datalist>
    </>
  );
}

function Entities({
  form,
  change,
  scope,
  hosts,
}: Part & { scope: keyof typeof ENTITY_FIELDS; hosts: readonly string[] }) {
  const set = (number: number, part: Entity) =>
    change({ entities: form.entities.map((each, at) => (at === number ? { ...each, ...part } : each)) });
  return (
    <fieldset>
      <legend>Which {SCOPE_NAMES[scope]}</legend>
      {form.entities.map((each, number) => (
        <div className="fields entity" key={number}>
          {ENTITY_FIELDS[scope].map((name) => (
            <Named
              key={name}
              name={name}
              service={form.service}
              hosts={hosts}
              said={each}
              hint={name === ENTITY_FIELDS[scope][0] ? "" : "any"}
              set={(text) => set(number, { [name]: text })}
            />
          ))}
          {form.entities.length > 1 && (
            <button
              type="button"
              aria-label={`Leave out number ${number + 1}`}
              onClick={() => change({ entities: form.entities.filter((_, at) => at !== number) })}
            >
              ✕
            </button>
          )}
        </div>
      ))}
      <button type="button" onClick={() => change({ entities: [...form.entities, {}] })}>
        One more
      </button>
      <span className="dim">each is found by what runs on the hosts when this is submitted; empty fields mean any</span>
    </fieldset>
  );
}

const MODES: Record<string, string> = { cpu: "CPU time", wall: "wall clock", allocation: "allocations", none: "none" };

export function What({ form, change, of, targets }: Part & { of: Preview; targets: readonly Row[] }) {
  const modes = [...new Set([...(of.modes.length > 0 ? of.modes : ["cpu"]), form.mode])];
  const named = [...new Set([...of.profilers, ...Object.keys(form.switches)])].sort();
  const number = (name: "duration" | "frequency", label: string, most: number) => (
    <label>
      {label}
      <input
        type="number"
        min={1}
        max={most}
        value={Number.isNaN(form[name]) ? "" : form[name]}
        onChange={(event) => change({ [name]: event.target.valueAsNumber })}
      />
    </label>
  );
  return (
    <>
      <div className="fields">
        {number("duration", form.continuous ? "Each window, seconds" : "Duration, seconds", 86_400)}
        {number("frequency", "Frequency, Hz", 1_000)}
        <label>
          Mode
          <select value={form.mode} onChange={(event) => change({ mode: event.target.value })}>
            {modes.map((mode) => (
              <option key={mode} value={mode}>
                {MODES[mode] ?? mode}
              </option>
            ))}
          </select>
        </label>
        <Pids form={form} change={change} />
      </div>
      <fieldset>
        <legend>Profilers</legend>
        {named.length === 0 && <p className="dim">These hosts do not say what they have; each uses what it finds.</p>}
        {named.map((name) => (
          <label key={name} className="check">
            <input
              type="checkbox"
              checked={isOn(form, name)}
              onChange={(event) => change({ switches: { ...form.switches, [name]: event.target.checked } })}
            />
            {name}{" "}
            <span className="dim">
              on {count(targets.filter((row) => row.profilers?.includes(name)).length, "host")}
              {name === "memray" && ", stops each process for a moment"}
            </span>
          </label>
        ))}
      </fieldset>
      <label className="check">
        <input
          type="checkbox"
          checked={form.continuous}
          onChange={(event) => change({ continuous: event.target.checked })}
        />
        Go on, window after window, until cancelled
      </label>
    </>
  );
}

export function Pids({ form, change }: Part) {
  if (form.scope !== "host" && form.scope !== "service") return null;
  if (form.pidsByHost !== null)
    return (
      <p className="dim">
        Of each host the processes that were asked for before.{" "}
        <button type="button" onClick={() => change({ pidsByHost: null })}>
          Say others
        </button>
      </p>
    );
  return (
    <label>
      Processes, by pid
      <input
        type="text"
        inputMode="numeric"
        placeholder="the whole host"
        value={form.pids}
        onChange={(event) => change({ pids: event.target.value })}
      />
    </label>
  );
}

/** How fast, how many, and how long it may wait: what is rarely touched. */
export function More({ form, change }: Part) {
  const text = (name: "sample" | "maxConcurrency" | "maxErrors" | "maxProcesses", label: string, hint: string) => (
    <label>
      {label}
      <input
        type="text"
        placeholder={hint}
        value={form[name]}
        onChange={(event) => change({ [name]: event.target.value })}
      />
    </label>
  );
  const isStart = form.command === "start";
  const touched = [
    form.sample,
    form.maxConcurrency,
    form.maxProcesses,
    form.priority !== "normal",
    form.expiresIn !== 900,
    form.args,
  ];
  return (
    <details open={touched.some(Boolean) || undefined}>
      <summary>How many at a time, priority, how long it may wait, and other arguments</summary>
      <div className="fields">
        {isStart && text("maxConcurrency", "Hosts at a time", "all; or 5, or 10%")}
        {isStart && form.maxConcurrency.trim() !== "" && text("maxErrors", "Halt after failures", "never; or 2, or 5%")}
        {isStart && text("sample", "A sample of the hosts", "all; or 3, or 10%")}
        {isStart && text("maxProcesses", "Processes a profiler", "the agent's own bound")}
        <label>
          Priority
          <select
            value={form.priority}
            onChange={(event) => change({ priority: event.target.value as Form["priority"] })}
          >
            <option>low</option>
            <option>normal</option>
            <option>urgent</option>
          </select>
        </label>
        <label>
          Must begin within, seconds
          <input
            type="number"
            min={1}
            max={86_400}
            value={Number.isNaN(form.expiresIn) ? "" : form.expiresIn}
            onChange={(event) => change({ expiresIn: event.target.valueAsNumber })}
          />
        </label>
        {isStart && (
          <label>
            Other arguments of the agent
            <input
              type="text"
              spellCheck={false}
              placeholder='none; or {"name": "value"}'
              value={form.args}
              onChange={(event) => change({ args: event.target.value })}
            />
          </label>
        )}
      </div>
    </details>
  );
}

const CRONS: [string, string][] = [
  ["every hour", "0 * * * *"],
  ["every night at 3", "0 3 * * *"],
  ["weekdays at 10", "0 10 * * 1-5"],
  ["Mondays at 3", "0 3 * * 1"],
];

export function Moment({ form, change, isFixed }: Part & { isFixed: boolean }) {
  const { schedule: mayMake } = useRights();
  const whole = (name: "catchUp" | "pauseAfter", label: string, most: number) => (
    <label>
      {label}
      <input
        type="number"
        min={0}
        max={most}
        value={Number.isNaN(form[name]) ? "" : form[name]}
        onChange={(event) => change({ [name]: event.target.valueAsNumber })}
      />
    </label>
  );
  return (
    <>
      {!isFixed && (
        <div className="fields">
          <label>
            When
            <select value={form.when} onChange={(event) => change({ when: event.target.value as Form["when"] })}>
              <option value="now">now</option>
              {form.command === "start" && <option value="later">at a moment, on all hosts together</option>}
              {mayMake && <option value="schedule">again and again, by the clock</option>}
            </select>
          </label>
          {form.when === "later" && (
            <label>
              Start
              <input
                type="datetime-local"
                value={toLocal(form.startAt)}
                onChange={(event) => change({ startAt: fromLocal(event.target.value) })}
              />
            </label>
          )}
        </div>
      )}
      {form.when === "schedule" && (
        <fieldset className="schedule">
          <legend>Schedule</legend>
          <label>
            Name
            <input
              type="text"
              maxLength={256}
              placeholder="nightly"
              value={form.name}
              onChange={(event) => change({ name: event.target.value })}
            />
          </label>
          <label>
            Fires at (cron)
            <input
              type="text"
              spellCheck={false}
              list="crons"
              value={form.cron}
              onChange={(event) => change({ cron: event.target.value })}
            />
          </label>
          <datalist id="crons">
            {CRONS.map(([name, cron]) => (
              <option key={cron} value={cron} label={name} />
            ))}
          </datalist>
          <label>
            Time zone
            <input
              type="text"
              spellCheck={false}
              list="zones"
              value={form.timezone}
              onChange={(event) => change({ timezone: event.target.value })}
            />
          </label>
          <datalist id="zones">
            {["UTC", ...Intl.supportedValuesOf("timeZone")].map((zone) => (
              <option key={zone} value={zone} />
            ))}
          </datalist>
          <label>
            While the former one is open
            <select
              value={form.overlap}
              onChange={(event) => change({ overlap: event.target.value as Form["overlap"] })}
            >
              <option value="skip">skip</option>
              <option value="allow">fire all the same</option>
            </select>
          </label>
          {whole("catchUp", "Catch up within, seconds", 604_800)}
          {whole("pauseAfter", "Pause after failures (0: never)", 1_000)}
        </fieldset>
      )}
    </>
  );
}
