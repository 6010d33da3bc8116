// The requests of the last seven days, the newest first.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { type RequestSummary, requests } from "../api";
import { Badge, Empty, Heads, Notice, useNow } from "../parts";
import { ago, count } from "../words";

const FIRST = 100;
const MOST = 1_000; // that the API tells at once

/** `2 completed, 1 failed`. */
const counted = (counts: RequestSummary["counts"]): string =>
  Object.entries(counts)
    .map(([state, hosts]) => `${hosts.toLocaleString("en")} ${state.replace("_", " ")}`)
    .join(", ");

export function Requests() {
  const [most, setMost] = useState(FIRST);
  const found = useQuery({
    queryKey: ["requests", most],
    queryFn: () => requests(most),
    placeholderData: keepPreviousData,
  });
  const now = useNow(5_000);
  return (
    <section aria-label="Requests">
      <h1>Requests</h1>
      {found.error && <Notice error={found.error} />}
      {found.data?.items.length === 0 && (
        <Empty title="Nobody has asked for a profile in seven days">
          <p>Choose hosts in the fleet and press “Profile”.</p>
        </Empty>
      )}
      {found.data && found.data.items.length > 0 && (
        <table className="wide">
          <Heads names={["Asked", "Service", "What", "Hosts", "Status"]} />
          <tbody>
            {found.data.items.map((each) => (
              <tr key={each.request_id}>
                <td>
                  <Link
                    href={`/requests/${each.request_id}`}
                    aria-label={`${ago(each.accepted_at, now)}: ${each.command_type} of ${each.service_name}`}
                  >
                    {ago(each.accepted_at, now)}
                  </Link>
                </td>
                <td>{each.service_name}</td>
                <td>{each.command_type === "start" ? "profile" : "stop"}</td>
                <td>{count(each.hosts_total, "host")}</td>
                <td>
                  <Badge state={each.status} />{" "}
                  {Object.keys(each.counts).length > 1 && <span className="dim">{counted(each.counts)}</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {found.data?.next_cursor &&
        (most < MOST ? (
          <button type="button" disabled={found.isFetching} onClick={() => setMost(MOST)}>
            Show more
          </button>
        ) : (
          <p className="dim">
            These are the last {MOST.toLocaleString("en")}; <code>studio requests list</code> lists them all.
          </p>
        ))}
    </section>
  );
}
