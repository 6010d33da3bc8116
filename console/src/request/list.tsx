// The requests of the last seven days, the newest first.
import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { requests } from "../api";
import { Badge, Empty, Heads, Notice, useNow } from "../parts";
import { ago, count } from "../words";

export function Requests() {
  const found = useQuery({ queryKey: ["requests"], queryFn: requests });
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
                  <Link href={`/requests/${each.request_id}`}>{ago(each.accepted_at, now)}</Link>
                </td>
                <td>{each.service_name}</td>
                <td>{each.command_type}</td>
                <td>{count(each.hosts_total, "host")}</td>
                <td>
                  <Badge state={each.status} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
