// Dead letters: what was given up on, why, and trying it again.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { Empty, Heads, Notice, useNow } from "../parts";
import { useRights } from "../session";
import { ago, count } from "../words";
import { type Letter, letters, replay } from "./calls";
import { remedy, replayed, what } from "./rules";

const LOOKS_MS = 15_000;
const SHOWN = 200;

interface Told {
  letter: Letter;
  request_id: string | null;
  error: Error | null;
}

/** Replay letters one after another: what one of them cannot do does not hold up the rest. */
async function replayAll(all: readonly Letter[]): Promise<Told[]> {
  const told: Told[] = [];
  for (const letter of all) {
    try {
      told.push({ letter, request_id: (await replay(letter.id)).request_id ?? null, error: null });
    } catch (error) {
      told.push({ letter, request_id: null, error: error as Error });
    }
  }
  return told;
}

export function Letters() {
  const found = useQuery({ queryKey: ["dead_letters"], queryFn: letters, refetchInterval: LOOKS_MS });
  const queries = useQueryClient();
  const { act } = useRights();
  const now = useNow(5_000);
  const [isSure, setSure] = useState("");
  const replaying = useMutation({
    mutationFn: replayAll,
    onSettled: () => {
      setSure("");
      void queries.invalidateQueries({ queryKey: ["dead_letters"] });
    },
  });
  const all = found.data ?? [];
  const error = found.error ?? found.failureReason;
  const press = (what: string, some: readonly Letter[]) => (isSure === what ? replaying.mutate(some) : setSure(what));
  return (
    <section aria-label="Dead letters">
      <div className="bar">
        <h2>Dead letters</h2>
        <span className="dim">what was given up on; each can be tried again, once</span>
        <span className="grow" />
        {act && all.length > 1 && (
          <button type="button" disabled={replaying.isPending} onClick={() => press("*", all)}>
            {isSure === "*" ? `Yes, replay all ${all.length}` : "Replay all…"}
          </button>
        )}
      </div>
      {error && <Notice error={error} />}
      {replaying.data && <Outcome told={replaying.data} />}
      {found.data?.length === 0 && (
        <Empty title="Nothing was given up on">
          <p>A command that an agent is offered ten times and never takes would be here, with what to do about it.</p>
        </Empty>
      )}
      {all.length > 0 && (
        <table className="wide">
          <Heads
            names={["What", "Host", "Why", "Tried", "Given up", "Requests", ...(act ? ["Replay"] : [])]}
            mute="Replay"
            counts={["Tried"]}
          />
          <tbody>
            {all.slice(0, SHOWN).map((letter) => (
              <tr key={letter.id}>
                <td title={`letter ${letter.id}`}>{what(letter)}</td>
                <td>
                  {letter.hostname ?? <span className="dim">none is named</span>}
                  {letter.service_name && <div className="dim">{letter.service_name}</div>}
                </td>
                <td>{letter.reason}</td>
                <td className="count">{letter.attempts}</td>
                <td title={letter.at}>{ago(letter.at, now)}</td>
                <td>
                  {letter.request_ids.map((id) => (
                    <Link key={id} href={`/requests/${id}`} className="id">
                      {id.slice(0, 8)}
                    </Link>
                  ))}
                </td>
                {act && (
                  <td>
                    <button
                      type="button"
                      title={`Replaying ${remedy(letter)}`}
                      aria-label={isSure === letter.id ? undefined : `Replay ${letter.hostname ?? letter.id}…`}
                      disabled={replaying.isPending}
                      onClick={() => press(letter.id, [letter])}
                    >
                      {isSure === letter.id ? "Yes, replay" : "Replay…"}
                    </button>
                    {isSure === letter.id && <div className="dim">It {remedy(letter)}.</div>}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {all.length > SHOWN && <p className="dim">and {count(all.length - SHOWN, "older letter")}</p>}
    </section>
  );
}

function Outcome({ told }: { told: readonly Told[] }) {
  const refused = told.filter((each) => each.error !== null);
  return (
    <div className="told" role="status">
      {replayed(told.length - refused.length, refused.length)}{" "}
      {told
        .filter((each) => each.request_id !== null)
        .slice(0, 10)
        .map((each) => (
          <Link key={each.letter.id} href={`/requests/${each.request_id}`}>
            New request for {each.letter.hostname}
          </Link>
        ))}
      {refused.slice(0, 5).map((each) => (
        <p key={each.letter.id} className="warn">
          {each.letter.hostname ?? each.letter.id}: {each.error?.message}
        </p>
      ))}
    </div>
  );
}
