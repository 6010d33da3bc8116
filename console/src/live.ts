// What happens, told to whoever shows it: by the worker that all tabs share, else by a stream of this tab while it is seen.
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { listen, type Told } from "./stream";

function follow(tell: (told: Told) => void): () => void {
  if (typeof SharedWorker === "undefined") return whileSeen(tell);
  const worker = new SharedWorker(new URL("./live-worker.ts", import.meta.url), { type: "module", name: "studio" });
  worker.port.onmessage = (message: MessageEvent<Told>) => tell(message.data);
  const here = () => worker.port.postMessage("here");
  const gone = () => worker.port.postMessage("gone");
  // A page that is left may be kept, and shown again as it was: what came meanwhile was missed.
  const back = (event: PageTransitionEvent) => {
    if (!event.persisted) return;
    here();
    tell({ kind: "snapshot" });
  };
  window.addEventListener("pagehide", gone);
  window.addEventListener("pageshow", back);
  here();
  return () => {
    gone();
    window.removeEventListener("pagehide", gone);
    window.removeEventListener("pageshow", back);
  };
}

function whileSeen(tell: (told: Told) => void): () => void {
  let close: (() => void) | undefined;
  const look = () => {
    if (document.visibilityState === "visible") close ??= listen(tell);
    else {
      close?.();
      close = undefined;
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close?.();
  };
}

const GATHER_MS = 300;
const LOOKS_AT_MOST = 20;
const FOLLOWED = ["hosts", "commands", "requests", "request"];

/** Have what is shown follow what happens. Events of a moment are gathered: a fleet that comes back is one look. */
export function useLive(): boolean {
  const queries = useQueryClient();
  const [isOpen, setOpen] = useState(true);
  useEffect(() => {
    const stale = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let patience = 0;
    const flush = () => {
      if (patience > 0 && queries.isFetching() > 0) {
        patience -= 1; // what is on its way is awaited, not begun anew
        timer = setTimeout(flush, GATHER_MS);
        return;
      }
      timer = undefined;
      patience = 0;
      const keys = [...stale];
      stale.clear();
      if (keys.includes("*")) void queries.invalidateQueries();
      else for (const key of keys) void queries.invalidateQueries({ queryKey: key.split(" ") });
    };
    const mark = (...keys: string[]) => {
      for (const key of keys) stale.add(key);
      timer ??= setTimeout(flush, GATHER_MS);
    };
    const stop = follow((told) => {
      if (told.kind === "open") {
        setOpen(true);
        patience = LOOKS_AT_MOST;
        mark(...FOLLOWED); // what came between loading what is shown and this moment was missed
      } else if (told.kind === "lost") {
        setOpen(false);
        mark("me"); // a sign-in that has ended ends the stream too
      } else if (told.kind === "snapshot") mark("*");
      else if (told.kind === "host") mark("hosts");
      else mark("commands", "requests", ...(told.data.request_ids ?? []).map((id) => `request ${id}`));
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [queries]);
  return isOpen;
}
