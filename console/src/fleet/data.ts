import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { commands, hosts } from "../api";
import { type Row, rows } from "./rules";

const BEATS_MS = 30_000;

/** The fleet. Hosts that come and go, and what each is at, are pushed; when each was heard last is asked for, as seen. */
export function useFleet(): { rows: Row[]; error: Error | null; isLoading: boolean } {
  const known = useQuery({ queryKey: ["hosts"], queryFn: hosts, refetchInterval: BEATS_MS });
  const told = useQuery({ queryKey: ["commands"], queryFn: commands });
  const all = useMemo(() => rows(known.data ?? [], told.data ?? []), [known.data, told.data]);
  return { rows: all, error: known.error ?? known.failureReason ?? told.error, isLoading: known.data === undefined };
}
