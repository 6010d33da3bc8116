// The library: which profiles of a service there are, when, and the way to one flame graph of them or a comparison.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { earlier, NOTHING, query, read as readSelection, type Selection } from "../flame/selection";
import { Empty, Notice, useNow } from "../parts";
import { useMayAct } from "../session";
import { stretch } from "../times";
import { count } from "../words";
import { profiles, timeline } from "./data";
import { Filters, useKnown } from "./filters";
import { List } from "./list";
import { OverTime } from "./over-time";
import { CPU, LAST, MODES, meant, narrowedTo, read, type Wanted, wider, write } from "./rules";
import "./profiles.css";

export function Profiles() {
  const search = useSearch();
  const [, go] = useLocation();
  const known = useKnown();
  const wanted = useMemo(() => read(search), [search]);
  const now = useNow(10_000);
  const key = query(meant(wanted, now));
  const of = useMemo(() => readSelection(key), [key]);
  const set = (next: Wanted) => go(`/profiles?${write(next)}`);
  const only = known.services.length === 1 ? known.services[0] : undefined;
  useEffect(() => {
    if (wanted.service === "" && only !== undefined)
      go(`/profiles?${write({ ...wanted, service: only })}`, { replace: true });
  }, [wanted, only, go]);
  return (
    <section aria-label="Profiles" className="library">
      <div className="bar">
        <h1>{of.service === "" ? "Profiles" : `Profiles of ${of.service}`}</h1>
        <span className="dim">{of.service !== "" && stretch(Date.parse(of.start), Date.parse(of.end))}</span>
      </div>
      <Filters wanted={wanted} of={of} set={set} />
      {of.service === "" ? (
        <Services names={known.services} isKnown={known.isKnown} wanted={wanted} />
      ) : (
        <Found key={of.service} of={of} wanted={wanted} set={set} />
      )}
    </section>
  );
}

function Services({ names, isKnown, wanted }: { names: string[]; isKnown: boolean; wanted: Wanted }) {
  if (!isKnown) return <p>Loading…</p>;
  return (
    <Empty title={names.length === 0 ? "No service is known yet" : "Whose profiles?"}>
      {names.length === 0 ? (
        <p>
          A service appears with its first host. Start an agent there, as the <Link href="/">fleet</Link> says; profiles
          that were uploaded otherwise are found by typing their service above.
        </p>
      ) : (
        <ul className="services">
          {names.slice(0, 100).map((service) => (
            <li key={service}>
              <Link href={`/profiles?${write({ ...wanted, service })}`}>{service}</Link>
            </li>
          ))}
        </ul>
      )}
    </Empty>
  );
}

function Found({ of, wanted, set }: { of: Selection; wanted: Wanted; set: (next: Wanted) => void }) {
  const key = query(of);
  const keep = { placeholderData: <T,>(before: T | undefined) => before };
  const over = useQuery({ queryKey: ["timeline", key], queryFn: () => timeline(of), ...keep });
  const list = useInfiniteQuery({
    queryKey: ["profiles", key],
    queryFn: ({ pageParam }) => profiles(of, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    ...keep,
  });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const error = list.error ?? over.error;
  if (error) return <Notice error={error} />;
  if (list.data === undefined) return <p>Loading…</p>;
  if (rows.length === 0) return <None of={of} wanted={wanted} set={set} />;
  const picked = rows.filter((row) => chosen.has(row.profile_id));
  const some: Selection =
    picked.length === 0 ? of : { ...of, where: { ...of.where, profile_id: picked.map((row) => row.profile_id) } };
  const [one, other] = picked.toSorted((a, b) => a.started_at.localeCompare(b.started_at));
  const two =
    picked.length === 2 && one && other
      ? query(
          { ...of, where: { ...of.where, profile_id: [other.profile_id] } },
          { ...NOTHING, where: { profile_id: [one.profile_id] } },
        )
      : undefined;
  return (
    <>
      {over.data && (
        <OverTime
          of={over.data}
          isStale={over.isPlaceholderData}
          onPick={(range) => set({ ...wanted, last: "", ...range })}
        />
      )}
      <div className="bar acts">
        <h2>
          {count(rows.length, "profile")}
          {list.hasNextPage && " and more"}
        </h2>
        <span className="grow" />
        {two ? (
          <Link className="button" href={`/flamegraph?${two}`}>
            Compare the two
          </Link>
        ) : (
          picked.length === 0 && (
            <Link className="button" href={`/flamegraph?${query(of, earlier(of))}`}>
              Compare with the {before(wanted)} before
            </Link>
          )
        )}
        {picked.length > 0 && (
          <button type="button" onClick={() => setChosen(new Set())}>
            Choose none
          </button>
        )}
        <Link className="button main" href={`/flamegraph?${query(some)}`}>
          {picked.length === 0 ? "Flame graph of all" : `Flame graph of the ${count(picked.length, "chosen one")}`}
        </Link>
      </div>
      <List
        rows={rows}
        of={of}
        chosen={chosen}
        set={setChosen}
        onMore={list.hasNextPage ? () => void list.fetchNextPage() : undefined}
        onHost={(hostname) => set({ ...wanted, where: { ...wanted.where, hostname: [hostname] } })}
      />
    </>
  );
}

const before = (wanted: Wanted): string =>
  (LAST.find(([name]) => name === wanted.last)?.[1] ?? "equal time").replace(/^1 /, "");

/** What to do where nothing was found. */
function None({ of, wanted, set }: { of: Selection; wanted: Wanted; set: (next: Wanted) => void }) {
  const mayAct = useMayAct();
  const longer = wider(of);
  const words = LAST.find(([name]) => name === longer)?.[1];
  const mode = MODES[of.where.profiling_mode?.[0] ?? CPU] ?? "";
  const isNarrowed = Object.keys(wanted.where).some((field) => field !== "profiling_mode");
  return (
    <Empty
      title={`No profile of ${of.service} by ${mode} began in this time${isNarrowed ? " and fits the filters" : ""}`}
    >
      <p>A profile appears here a moment after its host is done.</p>
      <div className="bar middle">
        {isNarrowed && (
          <button type="button" onClick={() => set({ ...wanted, where: {} })}>
            Drop the filters
          </button>
        )}
        {Object.entries(MODES)
          .filter(([mode]) => mode !== of.where.profiling_mode?.[0])
          .map(([mode, words]) => (
            <button
              type="button"
              key={mode}
              onClick={() => set(narrowedTo(wanted, "profiling_mode", mode === CPU ? [] : [mode]))}
            >
              Look for {words}
            </button>
          ))}
        {longer && (
          <button type="button" onClick={() => set({ ...wanted, last: longer, start: "", end: "" })}>
            Look at the last {words}
          </button>
        )}
        {mayAct && (
          <Link className="button" href={`/?service=${encodeURIComponent(of.service)}`}>
            Profile its hosts now
          </Link>
        )}
      </div>
    </Empty>
  );
}
