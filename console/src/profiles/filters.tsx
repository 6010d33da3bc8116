// The library's filters. Each is in the address; a field that is typed into counts when it is left, or by Enter.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { hosts } from "../api";
import { local, utc } from "../flame/compare";
import type { Field, Selection } from "../flame/selection";
import { CPU, fault, LAST, listed, MODES, narrowedTo, type Wanted } from "./rules";

/** As agents name what a process runs by. */
const RUNTIMES = ["native", "python", "java", "node", "ruby", "php", "dotnet", "go"];

/** Services and hosts that the fleet knows: to choose from, while what it does not know may be typed. */
export function useKnown() {
  const known = useQuery({ queryKey: ["hosts"], queryFn: hosts });
  return useMemo(() => {
    const all = known.data ?? [];
    const services = [...new Set(all.map((host) => host.service_name))].sort();
    const of = (service: string) => all.filter((host) => host.service_name === service).map((host) => host.hostname);
    return { services, of, isKnown: known.data !== undefined };
  }, [known.data]);
}

interface Props {
  wanted: Wanted;
  of: Selection;
  set: (next: Wanted) => void;
}

export function Filters({ wanted, of, set }: Props) {
  const known = useKnown();
  const narrow = (field: Field) => (text: string) => set(narrowedTo(wanted, field, listed(text)));
  const said = (field: Field) => wanted.where[field]?.join(", ") ?? "";
  return (
    <form className="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      <Typed
        name="Service"
        value={wanted.service}
        set={(service) => set({ ...wanted, service: service.trim(), where: {} })}
        hint="choose or type one"
        list={known.services}
      />
      <Typed
        name="Hosts"
        value={said("hostname")}
        set={narrow("hostname")}
        hint="all"
        list={known.of(wanted.service)}
      />
      <label>
        Mode
        <select
          value={said("profiling_mode") || CPU}
          onChange={(event) => narrow("profiling_mode")(event.target.value === CPU ? "" : event.target.value)}
        >
          {Object.entries(MODES).map(([mode, words]) => (
            <option key={mode} value={mode}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <Typed name="Runtime" value={said("runtime")} set={narrow("runtime")} hint="all" list={RUNTIMES} />
      <Typed name="Request" value={said("request_id")} set={narrow("request_id")} hint="any" list={[]} />
      <Time wanted={wanted} of={of} set={set} />
    </form>
  );
}

function Typed(props: { name: string; value: string; set: (to: string) => void; hint: string; list: string[] }) {
  const [text, setText] = useState(props.value);
  useEffect(() => setText(props.value), [props.value]);
  const done = () => {
    if (text !== props.value) props.set(text);
  };
  const id = `known-${props.name.toLowerCase()}`;
  return (
    <label>
      {props.name}
      <input
        list={id}
        value={text}
        placeholder={props.hint}
        spellCheck={false}
        onChange={(event) => {
          setText(event.target.value);
          if (props.list.includes(event.target.value)) props.set(event.target.value); // it was chosen
        }}
        onBlur={done}
        onKeyDown={(event) => event.key === "Enter" && done()}
      />
      <datalist id={id}>
        {props.list.slice(0, 500).map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
    </label>
  );
}

function Time({ wanted, of, set }: Props) {
  const change = (part: Partial<Record<"start" | "end", string>>) => {
    const next = { start: of.start, end: of.end, ...part };
    if (fault(next) === "") set({ ...wanted, last: "", ...next });
  };
  return (
    <>
      <label>
        Time
        <select
          value={wanted.last}
          onChange={(event) =>
            set(
              event.target.value === ""
                ? { ...wanted, last: "", start: of.start, end: of.end }
                : { ...wanted, last: event.target.value, start: "", end: "" },
            )
          }
        >
          {LAST.map(([name, words]) => (
            <option key={name} value={name}>
              the last {words}
            </option>
          ))}
          <option value="">from … to …</option>
        </select>
      </label>
      {wanted.last === "" &&
        (["start", "end"] as const).map((which) => (
          <label key={which}>
            {which === "start" ? "From" : "To"}
            <input
              type="datetime-local"
              key={of[which]}
              defaultValue={local(of[which])}
              onBlur={(event) => change({ [which]: utc(event.target.value, of[which]) })}
            />
          </label>
        ))}
    </>
  );
}
