// What stands around every page: where one is, who one is, the theme, and the keys.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { signOut } from "./api";
import { FLEET } from "./fleet/views";
import { useLive } from "./live";
import { Dialog, Notice } from "./parts";
import { useMe, useRights } from "./session";
import { keep, show, type Theme, theme } from "./theme";

const KEYS = [
  ["/", "search"],
  ["?", "this help"],
  ["g f", "fleet"],
  ["g v", "services"],
  ["g w", "workloads"],
  ["g n", "new command"],
  ["g r", "requests"],
  ["g p", "profiles"],
  ["g s", "schedules"],
  ["g a", "audit"],
  ["g t", "tokens"],
  ["g h", "health"],
  ["Enter", "zoom into the frame that has the focus"],
  ["arrows", "move among the frames of a flame graph"],
  ["v", "flame graph: what is shown"],
  ["i", "flame graph: the root on top, or at the bottom"],
  ["c", "flame graph: callers and callees of the frame that has the focus"],
  ["z", "flame graph: reset the zoom"],
  ["Escape", "close, or leave the search"],
] as const;
/** What pages are called that no link of the header leads to. */
const OTHERS: Record<string, string> = {
  "/services": "Services",
  "/workloads": "Workloads",
  "/flamegraph": "Flame graph",
};
const GO: Record<string, string> = {
  f: "/",
  v: "/services",
  w: "/workloads",
  n: "/new",
  r: "/requests",
  p: "/profiles",
  s: "/schedules",
  a: "/audit",
  t: "/tokens",
  h: "/health",
};

function useTheme(): [Theme, () => void] {
  const [shown, setShown] = useState(theme);
  const turn = () => {
    const next = shown === "dark" ? "light" : "dark";
    keep(next);
    show(next);
    setShown(next);
  };
  return [shown, turn];
}

function useKeys(help: () => void): void {
  const [, go] = useLocation();
  useEffect(() => {
    let before = "";
    const press = (event: KeyboardEvent) => {
      const at = event.target as HTMLElement;
      const types = at.matches("input:not([type=checkbox]), textarea, select");
      if (event.key === "Escape" && types) at.blur();
      if (types || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        document.querySelector<HTMLInputElement>("input[type=search]")?.focus();
      } else if (event.key === "?") help();
      else if (before === "g" && GO[event.key] !== undefined) go(GO[event.key] as string);
      before = event.key;
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [go, help]);
}

export function Shell({ children }: { children: React.ReactNode }) {
  const me = useMe();
  const rights = useRights();
  const isLive = useLive();
  const queries = useQueryClient();
  const [shown, turn] = useTheme();
  const [isHelping, setHelping] = useState(false);
  const [help] = useState(() => () => setHelping(true));
  const [at] = useLocation();
  const links = [
    ["/", "Fleet"],
    ...(rights.act ? [["/new", "New command"]] : []),
    ["/requests", "Requests"],
    ["/profiles", "Profiles"],
    ["/schedules", "Schedules"],
    ...(rights.audit ? [["/audit", "Audit"]] : []),
    ...(rights.tokens ? [["/tokens", "Tokens"]] : []),
    ["/health", "Health"],
  ] as [string, string][];
  useKeys(help);
  const hasMoved = useRef(false);
  const main = useRef<HTMLElement>(null);
  const named = links.find(([path]) => path === at)?.[1] ?? OTHERS[at] ?? "";
  useEffect(() => {
    document.title = named ? `${named} · Performance Studio` : "Performance Studio";
  }, [named]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each page anew
  useEffect(() => {
    // What had the focus is gone with the former page: whoever hears the page begins with the new one.
    if (document.activeElement === document.body && hasMoved.current) main.current?.focus();
    hasMoved.current = true;
  }, [at]);
  const leaving = useMutation({ mutationFn: signOut, onSuccess: () => queries.resetQueries() });
  return (
    <>
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <strong>Performance Studio</strong>
        <nav aria-label="Pages">
          {links.map(([path, name]) => (
            <Link
              key={path}
              href={path}
              aria-current={at === path || (path === "/" && FLEET.includes(at)) ? "page" : undefined}
            >
              {name}
            </Link>
          ))}
        </nav>
        <span className="grow" />
        <span className={isLive ? "live" : "live lost"} role="status">
          {isLive ? "live" : "reconnecting…"}
        </span>
        <span className="dim" title={`services: ${me.services.join(", ")}`}>
          {me.name || me.kind}
        </span>
        <button type="button" onClick={turn} aria-label={`Switch to the ${shown === "dark" ? "light" : "dark"} theme`}>
          {shown === "dark" ? "☀" : "☾"}
        </button>
        <button type="button" onClick={help} aria-label="Keys">
          ?
        </button>
        <button type="button" onClick={() => leaving.mutate()}>
          Sign out
        </button>
      </header>
      <main id="content" tabIndex={-1} ref={main}>
        {leaving.error && <Notice error={leaving.error} />}
        {children}
      </main>
      {isHelping && (
        <Dialog title="Keys" onClose={() => setHelping(false)}>
          <table>
            <tbody>
              {KEYS.map(([key, does]) => (
                <tr key={key}>
                  <th scope="row">
                    <kbd>{key}</kbd>
                  </th>
                  <td>{does}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Dialog>
      )}
    </>
  );
}
