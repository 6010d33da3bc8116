// speedscope, in a frame of its own that reaches nothing: this page asks for the profile, and hands it over.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Notice, useShownTheme } from "../parts";
import type { Theme } from "../theme";
import { speedscope } from "./data";
import { query, type Selection } from "./selection";

export function Speedscope({ of }: { of: Selection }) {
  const key = query(of);
  const shown = useShownTheme();
  const found = useQuery({
    queryKey: ["speedscope", key],
    queryFn: () => speedscope(of),
    staleTime: Number.POSITIVE_INFINITY, // who looks at it is not thrown back to the start
    gcTime: 0,
  });
  if (found.error) return <Notice error={found.error} />;
  if (found.data === undefined) return <p className="dim">Loading…</p>;
  // speedscope looks at its theme once, as it begins.
  return <Frame key={`${shown} ${key}`} profile={found.data} title={of.service} theme={shown} />;
}

function Frame({ profile, title, theme }: { profile: string; title: string; theme: Theme }) {
  const at = useRef<HTMLIFrameElement>(null);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    const hear = (event: MessageEvent<{ speedscope?: string }>) => {
      const frame = at.current?.contentWindow;
      if (!frame || event.source !== frame) return;
      if (event.data.speedscope === "failed") setFailed(true);
      if (event.data.speedscope !== "ready") return;
      frame.postMessage({ profile, theme, title }, "*"); // it has no origin to name; nobody else is in that frame
    };
    window.addEventListener("message", hear);
    return () => window.removeEventListener("message", hear);
  }, [profile, title, theme]);
  if (hasFailed)
    return (
      <Notice error={new Error("speedscope could not be loaded. Reload the page: the server may have been updated.")} />
    );
  return (
    <iframe
      ref={at}
      className="speedscope"
      src="/speedscope"
      sandbox="allow-scripts allow-downloads"
      title="speedscope, with what is selected"
    />
  );
}
