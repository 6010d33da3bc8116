// The audit trail: who did what, when, from where and with what result; filters in the address, files to keep.
import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { Fragment, useMemo, useState } from "react";
import { useLocation, useSearch } from "wouter";
import { Badge, Empty, Heads, Notice, useNow } from "../parts";
import { useRights } from "../session";
import { tokens } from "../tokens/calls";
import { ago, count } from "../words";
import { allRecords, chain, type Item, records } from "./calls";
import { verify } from "./chain";
import { ACTIONS, asCsv, asLines, type Filters, fromLocal, more, read, toLocal, write } from "./rules";

const HOURS: [string, number][] = [
  ["hour", 1],
  ["day", 24],
  ["week", 168],
];

export function Audit() {
  const search = useSearch();
  const [, go] = useLocation();
  const rights = useRights();
  const filters = useMemo(() => read(search), [search]);
  const set = (change: Partial<Filters>) => {
    const next = write({ ...filters, ...change });
    go(next ? `/audit?${next}` : "/audit", { replace: true });
  };
  if (!rights.audit)
    return (
      <Empty title="Your token may not read the audit trail">
        <p>A viewer's token may, of the services that it covers; an auditor's covers all of them.</p>
      </Empty>
    );
  return (
    <div className="sheet">
      <section aria-label="Audit">
        <div className="bar">
          <h1>Audit</h1>
          <span className="dim">who did what, the newest first</span>
          <span className="grow" />
          <Exports filters={filters} />
        </div>
        {rights.chain && <Chain />}
        <Fields filters={filters} set={set} key={write({ ...filters, since: "", until: "" })} />
        <Records filters={filters} set={set} />
      </section>
    </div>
  );
}

function Fields({ filters, set }: { filters: Filters; set: (change: Partial<Filters>) => void }) {
  const text = (name: "actor" | "action" | "service" | "object", label: string, hint: string) => (
    <label>
      {label}
      <input
        type="text"
        placeholder={hint}
        defaultValue={filters[name]}
        list={name === "action" ? "actions" : undefined}
        spellCheck={false}
        onBlur={(event) => set({ [name]: event.target.value.trim() })}
        onKeyDown={(event) => event.key === "Enter" && set({ [name]: event.currentTarget.value.trim() })}
      />
    </label>
  );
  const moment = (name: "since" | "until", label: string) => (
    <label>
      {label}
      <input
        type="datetime-local"
        value={toLocal(filters[name])}
        onChange={(event) => set({ [name]: fromLocal(event.target.value) })}
      />
    </label>
  );
  const since = (hours: number) => {
    const at = new Date(Date.now() - hours * 3_600_000);
    at.setSeconds(0, 0);
    return at.toISOString();
  };
  return (
    <fieldset className="filters">
      <legend>Filters</legend>
      {moment("since", "From")}
      {moment("until", "Before")}
      {text("action", "Act", "request.*")}
      <datalist id="actions">
        {ACTIONS.map((action) => (
          <option key={action} value={action} />
        ))}
      </datalist>
      <label>
        Outcome
        <select value={filters.outcome} onChange={(event) => set({ outcome: event.target.value })}>
          <option value="">any</option>
          <option>accepted</option>
          <option>refused</option>
          <option>failed</option>
        </select>
      </label>
      {text("actor", "Actor", "id of a token")}
      {text("service", "Service", "its name")}
      {text("object", "About", "id of a request, a token, …")}
      <div className="bar">
        {HOURS.map(([name, hours]) => (
          <button type="button" key={name} onClick={() => set({ since: since(hours), until: "" })}>
            Last {name}
          </button>
        ))}
        <button
          type="button"
          disabled={write(filters) === ""}
          onClick={() => set({ since: "", until: "", actor: "", action: "", outcome: "", service: "", object: "" })}
        >
          Drop all
        </button>
      </div>
    </fieldset>
  );
}

/** The name of a token, for those who may know the tokens. */
function useNames(): (id: string) => string {
  const { tokens: mayAsk } = useRights();
  const known = useQuery({ queryKey: ["tokens"], queryFn: tokens, enabled: mayAsk, staleTime: 60_000 });
  return useMemo(() => {
    const names = new Map((known.data ?? []).map((each) => [each.id, each.name]));
    return (id: string) => names.get(id) || id;
  }, [known.data]);
}

function Records({ filters, set }: { filters: Filters; set: (change: Partial<Filters>) => void }) {
  const found = useInfiniteQuery({
    queryKey: ["audit", filters],
    queryFn: ({ pageParam }) => records(filters, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const now = useNow(10_000);
  const nameOf = useNames();
  const [open, setOpen] = useState("");
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const error = found.error ?? found.failureReason;
  return (
    <>
      {error && <Notice error={error} />}
      {found.data && items.length === 0 && (
        <Empty title="Nothing of that kind was done">
          <p>
            {write(filters)
              ? "Drop a filter. What is older than the server keeps is in the archive."
              : "What people and programs ask for is told here, with what was refused."}
          </p>
        </Empty>
      )}
      {items.length > 0 && (
        <table className="wide">
          <Heads names={["When", "Act", "Outcome", "Actor", "Service", "From", "More"]} mute="More" />
          <tbody>
            {items.map((item) => (
              <Fragment key={item.id}>
                <Row
                  item={item}
                  now={now}
                  actor={item.actor ? nameOf(item.actor) : ""}
                  set={set}
                  isOpen={open === item.id}
                  toggle={() => setOpen(open === item.id ? "" : item.id)}
                />
                {open === item.id && (
                  <tr>
                    <td colSpan={7}>
                      <dl className="facts">
                        {more(item).map(([name, text]) => (
                          <Fragment key={name}>
                            <dt>{name}</dt>
                            <dd>
                              <code>{text}</code>
                            </dd>
                          </Fragment>
                        ))}
                      </dl>
                    </td>
                  </tr>
                )}
              </Fragment>
            ))}
          </tbody>
        </table>
      )}
      {items.length > 0 && (
        <div className="bar after">
          <span className="dim">{count(items.length, "record")} shown</span>
          <span className="grow" />
          {found.hasNextPage ? (
            <button type="button" disabled={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
              Older
            </button>
          ) : (
            <span className="dim">these are all</span>
          )}
        </div>
      )}
    </>
  );
}

function Row(the: {
  item: Item;
  now: number;
  actor: string;
  set: (change: Partial<Filters>) => void;
  isOpen: boolean;
  toggle: () => void;
}) {
  const { item } = the;
  return (
    <tr>
      <td title={item.at}>
        {ago(item.at, the.now)}
        {item.count > 1 && <div className="dim">{item.count.toLocaleString("en")} times</div>}
      </td>
      <td>
        <button type="button" className="link" onClick={() => the.set({ action: item.action })}>
          {item.action}
        </button>
      </td>
      <td>
        <Badge state={item.outcome} /> {item.code && <span className="dim">{item.code}</span>}
      </td>
      <td>
        {item.actor ? (
          <button
            type="button"
            className="link"
            title={item.actor}
            onClick={() => the.set({ actor: item.actor ?? "" })}
          >
            {the.actor === item.actor ? item.actor.slice(0, 13) : the.actor}
          </button>
        ) : (
          !item.actor_kind && <span className="dim">nobody we know</span>
        )}
        {item.actor_kind && <div className="dim">{item.actor_kind}</div>}
      </td>
      <td>
        {item.service_name}
        {item.hosts ? <div className="dim">{count(item.hosts, "host")}</div> : null}
      </td>
      <td>{item.address}</td>
      <td>
        <button
          type="button"
          aria-expanded={the.isOpen}
          aria-label={`${the.isOpen ? "less" : "more"} of record ${item.number}`}
          onClick={the.toggle}
        >
          {the.isOpen ? "less" : "more"}
        </button>
      </td>
    </tr>
  );
}

/** Have the browser keep a text as a file. */
function keep(text: string, name: string, type: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function Exports({ filters }: { filters: Filters }) {
  const keeping = useMutation({
    mutationFn: async (form: "csv" | "ndjson") => {
      const told = await allRecords(filters);
      const name = `audit-${new Date().toISOString().slice(0, 10)}.${form}`;
      if (form === "csv") keep(asCsv(told.items), name, "text/csv");
      else keep(asLines(told.items), name, "application/x-ndjson");
      return told;
    },
  });
  return (
    <>
      {keeping.error && <span className="warn">{keeping.error.message}</span>}
      {keeping.data && (
        <span className="dim" role="status">
          {count(keeping.data.items.length, "record")} exported{keeping.data.isCut && "; there are older ones"}
        </span>
      )}
      <button type="button" disabled={keeping.isPending} onClick={() => keeping.mutate("csv")}>
        Export CSV
      </button>
      <button type="button" disabled={keeping.isPending} onClick={() => keeping.mutate("ndjson")}>
        Export NDJSON
      </button>
    </>
  );
}

function Chain() {
  const verifying = useMutation({ mutationFn: () => verify(chain) });
  const told = verifying.data;
  const isPossible = globalThis.crypto?.subtle !== undefined;
  return (
    <>
      <div className="bar">
        <button type="button" disabled={verifying.isPending || !isPossible} onClick={() => verifying.mutate()}>
          {verifying.isPending ? "Verifying…" : "Verify the chain"}
        </button>
        <span className="dim">
          {isPossible ? (
            "Each record carries a hash of all before it: this page computes them again."
          ) : (
            <>
              A browser computes hashes over TLS alone: <code>studio audit verify</code> looks from anywhere.
            </>
          )}
        </span>
      </div>
      {verifying.error && <Notice error={verifying.error} />}
      {told && (
        <p className="told" role="status">
          <Badge state={told.ok ? "whole" : "broken"} />{" "}
          {told.ok
            ? `Records ${(told.begins + 1).toLocaleString("en")} to ${told.ends.toLocaleString("en")} are as they were written.`
            : `${told.reason} Every record up to ${told.ends.toLocaleString("en")} is as it was written.`}{" "}
          {told.unreadable > 0 &&
            `Of ${told.unreadable.toLocaleString("en")}, another tenant's, only the digests were seen. `}
          <span className="dim">
            Note number and hash elsewhere to find out later whether the whole was exchanged: <code>{told.head}</code>
          </span>
        </p>
      )}
    </>
  );
}
