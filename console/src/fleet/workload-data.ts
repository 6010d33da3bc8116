// What runs in the fleet, as the server has it of the agents' heartbeats.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { client, good } from "../api";
import type { Asked, Field, WorkloadRow, WorkloadScope } from "./workload-rules";

const LOOKS_MS = 30_000;
const AT_ONCE = 500;
const TYPING_MS = 250;

const workloads = (asked: Asked, limit: number, cursor?: string) => {
  const { scope, ...texts } = asked;
  const fields = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, [text as string]]));
  return good(
    client.GET("/api/metrics/profiling/workload_status", { params: { query: { scope, limit, cursor, ...fields } } }),
  );
};

/** A value once nobody has changed it for a moment. */
export function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Rows of a scope, page after page, looked at again every half a minute. */
export function useWorkloads(asked: Asked) {
  const found = useInfiniteQuery({
    queryKey: ["workloads", asked],
    queryFn: ({ pageParam }) => workloads(asked, AT_ONCE, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.nextCursor ?? undefined,
    refetchInterval: LOOKS_MS,
    placeholderData: keepPreviousData,
  });
  const rows = useMemo(
    () => (found.data?.pages ?? []).flatMap((page) => page.rows).map((row): WorkloadRow => ({ ...row, key: row.id })),
    [found.data],
  );
  return { found, rows, first: found.data?.pages[0] };
}

const SCOPE_OF: Partial<Record<Field, WorkloadScope>> = {
  namespace: "namespace",
  workload_name: "workload",
  pod_name: "pod",
  container_name: "container",
  process_name: "process",
};
const VALUE_OF = {
  namespace: "namespace",
  workload_name: "workloadName",
  pod_name: "podName",
  container_name: "containerName",
  process_name: "processName",
} as const;

const filled = (said: Partial<Record<string, string>>) =>
  Object.fromEntries(Object.entries(said).filter(([, text]) => text));

/** Names that a field of a service's workloads may have, by what is said of the others; none while that is unknown. */
export function useNames(service: string, field: string, said: Partial<Record<Field, string>>): string[] {
  const scope = SCOPE_OF[field as Field];
  const isAsked = scope !== undefined && service !== "";
  const asked = useSettled(isAsked ? JSON.stringify({ scope, ...filled(said), service_name: service }) : "");
  const found = useQuery({
    queryKey: ["names", asked],
    queryFn: () => workloads(JSON.parse(asked) as Asked, AT_ONCE),
    enabled: asked !== "",
    staleTime: LOOKS_MS,
    placeholderData: keepPreviousData,
  });
  return useMemo(() => {
    const name = VALUE_OF[field as keyof typeof VALUE_OF];
    // The filter by service is by a part of the name, too.
    const rows = (found.data?.rows ?? []).filter((row) => row.serviceName === service);
    return [...new Set(rows.flatMap((row) => row[name] ?? []))].sort().slice(0, 100);
  }, [found.data, field, service]);
}
