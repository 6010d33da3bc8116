// The fleet: facets with counts, a search, and every host that fits; chosen ones go on to a new command.
import { useMemo, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { Badge, Empty, Notice } from "../parts";
import { useMayAct } from "../session";
import { ago, count } from "../words";
import { useFleet } from "./data";
import { counts, FACETS, type Filters, matching, type Row, read, write } from "./rules";
import { type Column, LongTable } from "./table";
import { Facet, shownOf, Views } from "./views";
import "./fleet.css";

const NAMES: Record<string, string> = {
  status: "Status",
  service: "Service",
  busy: "At work",
  profiler: "Profiler",
  version: "Agent",
};

export function Fleet() {
  const { rows, error, isLoading } = useFleet();
  const search = useSearch();
  const [, go] = useLocation();
  const mayAct = useMayAct();
  const filters = useMemo(() => read(search), [search]);
  const shown = useMemo(() => matching(rows, filters), [rows, filters]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const set = (change: Partial<Filters>) => {
    const next = write({ ...filters, ...change });
    go(next ? `/?${next}` : "/", { replace: true });
  };
  const start = () => {
    sessionStorage.setItem(
      "studio-targets",
      JSON.stringify(rows.filter((row) => chosen.has(row.key)).map((row) => row.key)),
    );
    go("/new");
  };
  const hasAll = shown.length > 0 && shown.every((row) => chosen.has(row.key));
  const chooseAll = () => {
    const next = new Set(chosen);
    for (const row of shown) hasAll ? next.delete(row.key) : next.add(row.key);
    setChosen(next);
  };
  const toggle = (key: string) => {
    const next = new Set(chosen);
    if (!next.delete(key)) next.add(key);
    setChosen(next);
  };
  return (
    <Views>
      <div className="split">
        <aside aria-label="Filters">
          <input
            type="search"
            placeholder="Search hosts  ( / )"
            aria-label="Search hosts"
            value={filters.q}
            onChange={(event) => set({ q: event.target.value })}
          />
          {FACETS.map((facet) => {
            const found = counts(rows, filters, facet);
            if (found.length === 0) return null;
            return (
              <fieldset key={facet}>
                <legend>{NAMES[facet]}</legend>
                {found.slice(0, 12).map(([value, number]) => (
                  <Facet
                    key={value}
                    name={value}
                    number={number}
                    isChosen={filters[facet] === value}
                    choose={() => set({ [facet]: filters[facet] === value ? "" : value })}
                  />
                ))}
                {found.length > 12 && <p className="dim">and {found.length - 12} more: search for them</p>}
              </fieldset>
            );
          })}
        </aside>
        <section aria-label="Hosts">
          <div className="bar">
            <h1>{shownOf(shown.length, rows.length, "host")}</h1>
            <span className="grow" />
            {mayAct && (
              <>
                <button type="button" onClick={chooseAll} disabled={shown.length === 0}>
                  {hasAll ? "Choose none" : `Choose all ${shown.length.toLocaleString("en")} that match`}
                </button>
                <button type="button" className="main" disabled={chosen.size === 0} onClick={start}>
                  {chosen.size === 0 ? "Profile chosen hosts" : `Profile ${count(chosen.size, "host")}`}
                </button>
              </>
            )}
          </div>
          {error && <Notice error={error} />}
          {isLoading && !error && <p>Loading…</p>}
          {!isLoading && rows.length === 0 && (
            <Empty title="No host has been heard of yet">
              <p>
                A host appears here with its agent's first heartbeat. Start one with{" "}
                <code>gprofiler --enable-heartbeat-server</code> and this server's address.
              </p>
            </Empty>
          )}
          {rows.length > 0 && shown.length === 0 && (
            <Empty title="No host fits">
              <button type="button" onClick={() => go("/")}>
                Drop all filters
              </button>
            </Empty>
          )}
          {shown.length > 0 && (
            <LongTable
              label="Hosts"
              rows={shown}
              columns={COLUMNS}
              choice={mayAct ? { chosen, toggle: (row) => toggle(row.key), name: (row) => row.hostname } : undefined}
            />
          )}
        </section>
      </div>
    </Views>
  );
}

const COLUMNS: Column<Row>[] = [
  { name: "Host", width: "minmax(12rem, 2fr)", cell: (row) => row.hostname, hint: (row) => row.hostname },
  { name: "Service", width: "minmax(6rem, 1fr)", cell: (row) => row.service_name },
  {
    name: "Status",
    width: "11rem",
    cell: (row) => (
      <>
        <Badge state={row.status} /> {row.busy && <Badge state="running" />}
      </>
    ),
  },
  { name: "Address", width: "9rem", cell: (row) => row.ip_address },
  { name: "Agent", width: "6rem", cell: (row) => row.agent_version },
  { name: "Heard", width: "6.5rem", cell: (row, now) => ago(row.last_beat, now) },
];
