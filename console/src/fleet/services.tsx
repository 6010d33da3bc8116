// The fleet by service: how many of its hosts are there, what runs, which agents.
import { useMemo } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { Empty, Notice } from "../parts";
import { useMayAct } from "../session";
import { ago, count } from "../words";
import { useFleet } from "./data";
import { matchingServices, type Service, STANDS, type Stand, services, standOf } from "./rules";
import { type Column, LongTable } from "./table";
import { Facet, shownOf, Views } from "./views";
import "./fleet.css";

export function Services() {
  const { rows, error, isLoading } = useFleet();
  const [, go] = useLocation();
  const said = new URLSearchParams(useSearch());
  const mayAct = useMayAct();
  const q = said.get("q") ?? "";
  const stands = said.get("stands") ?? "";
  const all = useMemo(() => services(rows), [rows]);
  const named = useMemo(() => matchingServices(all, q, ""), [all, q]);
  const shown = useMemo(() => matchingServices(all, q, stands), [all, q, stands]);
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(said);
    if (value) next.set(name, value);
    else next.delete(name);
    go(`/services${next.size ? `?${next}` : ""}`, { replace: true });
  };
  return (
    <Views>
      <div className="split">
        <aside aria-label="Filters">
          <input
            type="search"
            placeholder="Search services  ( / )"
            aria-label="Search services"
            value={q}
            onChange={(event) => set("q", event.target.value)}
          />
          <fieldset>
            <legend>Hosts</legend>
            {(Object.keys(STANDS) as Stand[]).map((stand) => (
              <Facet
                key={stand}
                name={STANDS[stand]}
                number={named.filter((each) => standOf(each) === stand).length}
                isChosen={stands === stand}
                choose={() => set("stands", stands === stand ? "" : stand)}
              />
            ))}
          </fieldset>
        </aside>
        <section aria-label="Services">
          <div className="bar">
            <h1>{shownOf(shown.length, all.length, "service")}</h1>
          </div>
          {error && <Notice error={error} />}
          {isLoading && !error && <p>Loading…</p>}
          {!isLoading && all.length === 0 && (
            <Empty title="No service has been heard of yet">
              <p>
                A service is what agents say that their hosts belong to: <code>gprofiler --service-name NAME</code>.
              </p>
            </Empty>
          )}
          {all.length > 0 && shown.length === 0 && (
            <Empty title="No service fits">
              <button type="button" onClick={() => go("/services")}>
                Drop all filters
              </button>
            </Empty>
          )}
          {shown.length > 0 && (
            <LongTable label="Services" rows={shown} columns={mayAct ? [...COLUMNS, ACT] : COLUMNS} />
          )}
        </section>
      </div>
    </Views>
  );
}

const told = (pairs: readonly (readonly [string, number])[]): string =>
  pairs.length === 1 ? (pairs[0]?.[0] ?? "") : pairs.map(([value, number]) => `${value} (${number})`).join(", ");

const COLUMNS: Column<Service>[] = [
  {
    name: "Service",
    width: "minmax(9rem, 2fr)",
    cell: (row) => <Link href={`/?${new URLSearchParams({ service: row.key })}`}>{row.key}</Link>,
    hint: (row) => row.key,
  },
  {
    name: "Hosts online",
    width: "7rem",
    cell: (row) => (
      <span className={row.online < row.hosts ? "warn" : undefined}>
        {row.online.toLocaleString("en")} of {row.hosts.toLocaleString("en")}
      </span>
    ),
  },
  {
    name: "At work",
    width: "6rem",
    cell: (row) => (row.busy ? count(row.busy, "host") : <span className="dim">none</span>),
  },
  {
    name: "Agents",
    width: "minmax(6rem, 1.4fr)",
    cell: (row) => told(row.versions),
    hint: (row) => told(row.versions),
  },
  {
    name: "Profilers",
    width: "minmax(6rem, 1.4fr)",
    cell: (row) => row.profilers.join(", "),
    hint: (row) => row.profilers.join(", "),
  },
  { name: "Heard", width: "6.5rem", cell: (row, now) => ago(row.last_beat, now) },
  {
    name: "What runs",
    width: "5.5rem",
    isMute: true,
    cell: (row) => (
      <Link href={`/workloads?${new URLSearchParams({ service: row.key })}`} aria-label={`Workloads of ${row.key}`}>
        Workloads
      </Link>
    ),
  },
];

const ACT: Column<Service> = {
  name: "Profile",
  width: "4.8rem",
  isMute: true,
  cell: (row) => (
    <Link href={`/new?${new URLSearchParams({ service: row.key })}`} aria-label={`Profile ${row.key}…`}>
      Profile…
    </Link>
  ),
};
