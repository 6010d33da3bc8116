// The server's events as messages. A browser's EventSource comes back by itself after a break, with its last id; where
// the server refuses it for good (an ended sign-in, a restart behind a proxy) it does not, and is opened anew here.

export type Told =
  | { kind: "open" }
  | { kind: "lost" }
  | { kind: "snapshot" }
  | {
      kind: "request" | "command" | "host";
      data: { hostname: string | null; service_name: string; request_ids?: string[] };
    };

const AGAIN_AFTER_MS = 3_000;

/** Follow until the function that it gives is called. */
export function listen(tell: (told: Told) => void): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let hadOne = false;
  const open = () => {
    source = new EventSource("/api/v1/events?kinds=request,command,host");
    source.addEventListener("hello", () => {
      tell({ kind: "open" });
      if (hadOne) tell({ kind: "snapshot" }); // opened anew: what came meanwhile was missed
      hadOne = true;
    });
    source.addEventListener("snapshot", () => tell({ kind: "snapshot" }));
    for (const kind of ["request", "command", "host"] as const) {
      source.addEventListener(kind, (event) => tell({ kind, data: JSON.parse((event as MessageEvent<string>).data) }));
    }
    source.onerror = () => {
      tell({ kind: "lost" });
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_AFTER_MS);
    };
  };
  open();
  return () => {
    source?.close();
    clearTimeout(timer);
  };
}
