// One stream of events for all tabs: HTTP/1.1 browsers open six connections to a server, and each tab would hold one.
import { listen } from "./stream";

declare const self: { onconnect: ((event: MessageEvent) => void) | null };

const ports = new Set<MessagePort>();
let close: (() => void) | undefined;

self.onconnect = (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  ports.add(port);
  port.onmessage = (message) => {
    if (message.data !== "gone") return;
    ports.delete(port);
    if (ports.size === 0) {
      close?.();
      close = undefined;
    }
  };
  close ??= listen((told) => {
    for (const each of ports) each.postMessage(told);
  });
};
