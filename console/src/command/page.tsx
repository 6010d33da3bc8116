// A new command: for whom, what, and what it will come to before it is sent.
import { useMutation } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useLocation } from "wouter";
import { type Accepted, submit } from "../api";
import { useFleet } from "../fleet/data";
import { Empty, Notice } from "../parts";
import { useMayAct } from "../session";
import { count, duration } from "../words";
import { DEFAULTS, type Form, fault, preview, wish } from "./rules";

const MODES: Record<string, string> = { cpu: "CPU time", wall: "wall clock", allocation: "allocations", none: "none" };

function chosen(): string[] {
  try {
    const said: unknown = JSON.parse(sessionStorage.getItem("studio-targets") ?? "[]");
    return Array.isArray(said) ? said.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}

export function NewCommand() {
  const { rows, isLoading } = useFleet();
  const mayAct = useMayAct();
  const [, go] = useLocation();
  const [keys] = useState(() => new Set(chosen()));
  const targets = useMemo(() => rows.filter((row) => keys.has(row.key)), [rows, keys]);
  const told = useMemo(() => preview(targets), [targets]);
  const [service, setService] = useState("");
  const [said, setSaid] = useState<Omit<Form, "service" | "hosts">>(DEFAULTS);
  const [isSure, setSure] = useState(false);
  const [key, setKey] = useState(() => crypto.randomUUID());
  const meant = service || told.services[0] || "";
  const form: Form = {
    ...said,
    service: meant,
    hosts: targets.filter((row) => row.service_name === meant).map((row) => row.hostname),
  };
  const of = preview(targets.filter((row) => row.service_name === meant));
  const change = (part: Partial<Form>) => {
    setSaid({ ...said, ...part });
    setSure(false);
    setKey(crypto.randomUUID()); // another wish is another request
    trying.reset();
  };
  const trying = useMutation({ mutationFn: () => submit({ ...wish(form), dry_run: true }) });
  const sending = useMutation({
    mutationFn: () => submit(wish(form), key),
    onSuccess: (told: Accepted) => go(`/requests/${told.request_id}`),
  });
  if (!mayAct)
    return (
      <Empty title="Your token may look, and not ask for profiles">
        <p>An operator's token of the service may. Sign out, and sign in with one.</p>
      </Empty>
    );
  if (isLoading) return <p>Loading…</p>;
  if (targets.length === 0)
    return (
      <Empty title="No hosts are chosen">
        <p>Choose hosts in the fleet, then come here by “Profile”.</p>
        <button type="button" className="main" onClick={() => go("/")}>
          To the fleet
        </button>
      </Empty>
    );
  const wrong = fault(form);
  const modes = of.modes.length > 0 ? of.modes : ["cpu"];
  return (
    <form
      className="form card"
      onSubmit={(event) => {
        event.preventDefault();
        if (isSure) sending.mutate();
        else setSure(true);
      }}
    >
      <h1>New command</h1>
      <p className="told" data-testid="preview">
        <strong>{count(of.hosts, "host")}</strong>, {of.online} online, {of.busy} busy
        {of.online < of.hosts && (
          <span className="warn">
            {" "}
            · {count(of.hosts - of.online, "host")} offline: the run must begin within 15 min, or expires there
          </span>
        )}
        {of.busy > 0 && (
          <span className="warn">
            {" "}
            · busy hosts run both together where the mode is the same, else one after the other
          </span>
        )}
      </p>
      {told.services.length > 1 && (
        <label>
          Service
          <select
            value={meant}
            onChange={(event) => {
              setService(event.target.value);
              setSure(false);
              setKey(crypto.randomUUID());
            }}
          >
            {told.services.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
          <span className="dim">a request is for one service; the chosen hosts are of {told.services.length}</span>
        </label>
      )}
      <div className="fields">
        <label>
          Duration, seconds
          <input
            type="number"
            min={1}
            max={86400}
            value={said.duration}
            onChange={(event) => change({ duration: event.target.valueAsNumber })}
          />
        </label>
        <label>
          Frequency, Hz
          <input
            type="number"
            min={1}
            max={1000}
            value={said.frequency}
            onChange={(event) => change({ frequency: event.target.valueAsNumber })}
          />
        </label>
        <label>
          Mode
          <select value={said.mode} onChange={(event) => change({ mode: event.target.value })}>
            {modes.map((mode) => (
              <option key={mode} value={mode}>
                {MODES[mode] ?? mode}
              </option>
            ))}
          </select>
        </label>
        <label>
          Processes, by pid
          <input
            inputMode="numeric"
            placeholder="all of the host"
            value={said.pids}
            onChange={(event) => change({ pids: event.target.value })}
          />
        </label>
      </div>
      <fieldset>
        <legend>Profilers</legend>
        {of.profilers.length === 0 && (
          <p className="dim">These hosts do not say what they have; each uses what it finds.</p>
        )}
        {of.profilers.map((name) => (
          <label key={name} className="check">
            <input
              type="checkbox"
              checked={!said.off.includes(name)}
              onChange={(event) =>
                change({ off: event.target.checked ? said.off.filter((each) => each !== name) : [...said.off, name] })
              }
            />
            {name}{" "}
            <span className="dim">
              on{" "}
              {count(
                targets.filter((row) => row.service_name === meant && row.profilers?.includes(name)).length,
                "host",
              )}
            </span>
          </label>
        ))}
      </fieldset>
      <label className="check">
        <input
          type="checkbox"
          checked={said.continuous}
          onChange={(event) => change({ continuous: event.target.checked })}
        />
        Go on, window after window, until cancelled
      </label>
      {wrong && <p className="warn">{wrong}</p>}
      {trying.error && <Notice error={trying.error} />}
      {sending.error && <Notice error={sending.error} />}
      {trying.data && (
        <p className="told" role="status">
          Valid for {count(trying.data.hosts, "host")}; nothing was changed. {trying.data.warnings?.join(" ")}
        </p>
      )}
      <div className="bar">
        <button type="button" disabled={wrong !== "" || trying.isPending} onClick={() => trying.mutate()}>
          Dry run
        </button>
        <span className="grow" />
        {isSure && (
          <span role="status">
            {count(of.hosts, "host")} × {duration(said.duration)} at {said.frequency} Hz: some{" "}
            {(of.hosts * said.duration * said.frequency).toLocaleString("en")} samples a busy core.
          </span>
        )}
        <button type="submit" className="main" disabled={wrong !== "" || sending.isPending}>
          {isSure ? `Yes, profile ${count(of.hosts, "host")}` : "Profile…"}
        </button>
      </div>
    </form>
  );
}
