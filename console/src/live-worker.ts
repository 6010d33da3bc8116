// One stream of events for all tabs: HTTP/1.1 browsers open six connections to a server, and each tab would hold one.
import { listen, type Told } from "./stream";

declare const self: { onconnect: ((event: MessageEvent) => void) | null };

const ports = new Set<MessagePort>();
let close: (() => void) | undefined;
let standing: Told | undefined;

function join(port: MessagePort): void {
  ports.add(port);
  if (standing !== undefined) port.postMessage(standing); // what the others were told before it came
  close ??= listen((told) => {
    if (told.kind === "open" || told.kind === "lost") standing = told;
    for (const each of ports) each.postMessage(told);
  });
}

function leave(port: MessagePort): void {
  ports.delete(port);
  if (ports.size > 0) return;
  close?.();
  close = standing = undefined;
}

self.onconnect = (event) => {
  const port = event.ports[0];
  if (port === undefined) return;
  port.onmessage = (message) => (message.data === "gone" ? leave(port) : join(port));
};
