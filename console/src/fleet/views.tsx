// The fleet in three views: by host, by service, and by what runs there. Each has an address of its own.
import { Link, useLocation } from "wouter";
import { count } from "../words";

const VIEWS = [
  ["/", "Hosts"],
  ["/services", "Services"],
  ["/workloads", "Workloads"],
] as const;

/** Addresses of the fleet's views. */
export const FLEET: readonly string[] = VIEWS.map(([path]) => path);

export function Views({ children }: { children: React.ReactNode }) {
  const [at] = useLocation();
  return (
    <div className="by-view">
      <nav aria-label="Fleet" className="tabs">
        {VIEWS.map(([path, name]) => (
          <Link key={path} href={path} aria-current={at === path ? "page" : undefined}>
            {name}
          </Link>
        ))}
      </nav>
      {children}
    </div>
  );
}

/** One of the values that rows are narrowed to by a press, with how many have it. */
export function Facet(the: { name: string; number: number | undefined; isChosen: boolean; choose: () => void }) {
  return (
    <button type="button" className="facet" aria-pressed={the.isChosen} onClick={the.choose}>
      <span>{the.name}</span>
      <span className="number">{the.number?.toLocaleString("en") ?? ""}</span>
    </button>
  );
}

/** How many rows are shown, of how many there are. */
export const shownOf = (shown: number, all: number, what: string): string =>
  shown === all ? count(all, what) : `${shown.toLocaleString("en")} of ${count(all, what)}`;
