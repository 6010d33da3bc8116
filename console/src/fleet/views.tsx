// The fleet in three views: by host, by service, and by what runs there. Each has an address of its own.
import { Link, useLocation } from "wouter";

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
