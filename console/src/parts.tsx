// Small parts that several pages share.
import { useEffect, useRef, useState } from "react";
import { type Theme, theme } from "./theme";

/** What went wrong, said aloud by screen readers. */
export function Notice({ error }: { error: Error }) {
  return (
    <p className="notice" role="alert">
      {error.message}
    </p>
  );
}

export function Badge({ state }: { state: string }) {
  return <span className={`badge ${state}`}>{state.replace("_", " ")}</span>;
}

/** The head of a table. `mute` names are for who hears them alone; `counts` stand over numbers. */
export function Heads(the: { names: readonly string[]; mute?: string; counts?: readonly string[] }) {
  return (
    <thead>
      <tr>
        {the.names.map((name) => (
          <th scope="col" key={name} className={the.counts?.includes(name) ? "count" : undefined}>
            {name === the.mute ? <span className="hidden">{name}</span> : name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

export function Empty({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** The time, again every so often while it is looked at. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A dialog that takes the keyboard; Escape closes it. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: React.ReactNode;
}) {
  const at = useRef<HTMLDialogElement>(null);
  useEffect(() => at.current?.showModal(), []);
  return (
    <dialog ref={at} onClose={onClose} aria-label={title}>
      <h2>{title}</h2>
      {children}
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

/** The theme that is shown, as it changes. */
export function useShownTheme(): Theme {
  const [shown, setShown] = useState(theme);
  useEffect(() => {
    const root = document.documentElement;
    const look = () => setShown(root.dataset.theme === "dark" ? "dark" : "light");
    const seen = new MutationObserver(look);
    seen.observe(root, { attributeFilter: ["data-theme"] });
    look();
    return () => seen.disconnect();
  }, []);
  return shown;
}

/** The width of an element, as it changes. */
export function useWidth<T extends HTMLElement>(): [React.RefObject<T | null>, number] {
  const at = useRef<T>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (at.current === null) return;
    const seen = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    seen.observe(at.current);
    return () => seen.disconnect();
  }, []);
  return [at, width];
}
