// Tokens: who may call. A secret is shown once, in the answer that made it: it stands in no address and no storage.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { Badge, Dialog, Empty, Heads, Notice, useNow } from "../parts";
import { useMe, useRights } from "../session";
import { ago, count, within } from "../words";
import { make, type NewToken, revoke, rotate, type Token, tokens } from "./calls";
import { type Form, fault, KINDS, LIVES, NEW, OVERLAPS, standing, wish } from "./rules";

export function Tokens() {
  const rights = useRights();
  if (!rights.tokens)
    return (
      <Empty title="Your token may not manage tokens">
        <p>An admin's token of every service may.</p>
      </Empty>
    );
  return <Managed />;
}

function Managed() {
  const found = useQuery({ queryKey: ["tokens"], queryFn: tokens });
  const now = useNow(10_000);
  const [hasEnded, setEnded] = useState(false);
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<NewToken>();
  const all = found.data ?? [];
  const good = all.filter((token) => standing(token, now) === "good");
  const shown = hasEnded ? all : good;
  const error = found.error ?? found.failureReason;
  return (
    <section className="sheet" aria-label="Tokens">
      <div className="bar">
        <h1>Tokens</h1>
        <span className="dim">{found.data && `${good.length} good, ${all.length - good.length} ended`}</span>
        <span className="grow" />
        {all.length > good.length && (
          <button type="button" aria-pressed={hasEnded} onClick={() => setEnded(!hasEnded)}>
            Show ended ones
          </button>
        )}
        <button type="button" className="main" onClick={() => setMaking(true)}>
          New token
        </button>
      </div>
      {error && <Notice error={error} />}
      {shown.length > 0 && (
        <table className="wide">
          <Heads names={["Name", "Kind", "Services", "Stands", "Made", "Last used", "Change"]} mute="Change" />
          <tbody>
            {shown.map((token) => (
              <Row key={token.id} token={token} now={now} tell={setSecret} />
            ))}
          </tbody>
        </table>
      )}
      {isMaking && (
        <Making
          onClose={() => setMaking(false)}
          onMade={(made) => {
            setMaking(false);
            setSecret(made);
          }}
        />
      )}
      {secret && <Secret of={secret} onClose={() => setSecret(undefined)} />}
    </section>
  );
}

function Row({ token, now, tell }: { token: Token; now: number; tell: (made: NewToken) => void }) {
  const me = useMe();
  const queries = useQueryClient();
  const [asks, setAsks] = useState<"" | "rotate" | "revoke">("");
  const [overlap, setOverlap] = useState(3_600);
  const stands = standing(token, now);
  const isMine = token.id === me.id;
  const done = () => {
    setAsks("");
    void queries.invalidateQueries({ queryKey: isMine ? [] : ["tokens"] });
  };
  const revoking = useMutation({ mutationFn: () => revoke(token.id), onSuccess: done });
  const rotating = useMutation({
    mutationFn: () => rotate(token.id, overlap),
    gcTime: 0, // the answer has the secret
    onSuccess: (made) => {
      tell(made);
      rotating.reset();
      done();
    },
  });
  const error = revoking.error ?? rotating.error;
  return (
    <tr>
      <td>
        {token.name || <span className="dim">no name</span>} {isMine && <span className="dim">(yours)</span>}
        {token.description && <div className="dim">{token.description}</div>}
        <div className="dim">
          <code className="id">{token.id}</code>
        </div>
      </td>
      <td title={KINDS[token.kind]}>
        {token.kind}
        {token.max_uses && (
          <div className="dim">
            {token.uses ?? 0} of {count(token.max_uses, "host")}
          </div>
        )}
        {token.hostname && <div className="dim">of {token.hostname}</div>}
      </td>
      <td>{token.services.join(", ")}</td>
      <td>
        <Badge state={stands} />
        {stands === "good" && (
          <div className="dim">{token.expires_at ? `ends ${within(token.expires_at, now)}` : "never ends"}</div>
        )}
        {token.previous_valid_until && Date.parse(token.previous_valid_until) > now && (
          <div className="dim">the former secret too, for {within(token.previous_valid_until, now).slice(3)}</div>
        )}
      </td>
      <td title={token.created_at}>{ago(token.created_at, now)}</td>
      <td>{token.last_used_at ? ago(token.last_used_at, now) : <span className="dim">never</span>}</td>
      <td className="acts">
        {error && <Notice error={error} />}
        {stands === "good" && asks === "" && (
          <>
            <button type="button" aria-label={`Rotate ${token.name}…`} onClick={() => setAsks("rotate")}>
              Rotate…
            </button>
            <button
              type="button"
              className="danger"
              aria-label={`Revoke ${token.name}…`}
              onClick={() => setAsks("revoke")}
            >
              Revoke…
            </button>
          </>
        )}
        {asks === "revoke" && (
          <>
            <span className="warn">
              {isMine ? "It is the one you are signed in with: you will be signed out. " : ""}
              Whoever uses it is refused within five seconds, for good.
            </span>
            <button type="button" className="danger" disabled={revoking.isPending} onClick={() => revoking.mutate()}>
              Yes, revoke
            </button>
            <button type="button" onClick={() => setAsks("")}>
              No
            </button>
          </>
        )}
        {asks === "rotate" && (
          <>
            <label>
              The present secret
              <select value={overlap} onChange={(event) => setOverlap(Number(event.target.value))}>
                {OVERLAPS.map(([name, seconds]) => (
                  <option key={seconds} value={seconds}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            {isMine && (
              <span className="warn">It is the one you are signed in with: your sign-in ends with its secret.</span>
            )}
            <button type="button" className="main" disabled={rotating.isPending} onClick={() => rotating.mutate()}>
              Yes, rotate
            </button>
            <button type="button" onClick={() => setAsks("")}>
              No
            </button>
          </>
        )}
      </td>
    </tr>
  );
}

function Making({ onClose, onMade }: { onClose: () => void; onMade: (made: NewToken) => void }) {
  const queries = useQueryClient();
  const [form, setForm] = useState<Form>(NEW);
  const set = (part: Partial<Form>) => setForm({ ...form, ...part });
  const making = useMutation({
    mutationFn: () => make(wish(form)),
    gcTime: 0, // the answer has the secret
    onSuccess: (made) => {
      void queries.invalidateQueries({ queryKey: ["tokens"] });
      onMade(made);
    },
  });
  const wrong = fault(form);
  return (
    <Dialog title="New token" onClose={onClose}>
      <form
        className="making"
        onSubmit={(event) => {
          event.preventDefault();
          making.mutate();
        }}
      >
        <label>
          Name
          <input
            type="text"
            maxLength={256}
            placeholder="grafana, on the dashboards host"
            value={form.name}
            onChange={(event) => set({ name: event.target.value })}
          />
        </label>
        <label>
          Kind
          <select value={form.kind} onChange={(event) => set({ kind: event.target.value as Form["kind"] })}>
            {Object.keys(KINDS).map((kind) => (
              <option key={kind}>{kind}</option>
            ))}
          </select>
          <span className="dim">{KINDS[form.kind]}</span>
        </label>
        <label>
          Services
          <input
            type="text"
            placeholder="shop, checkout-*"
            spellCheck={false}
            value={form.services}
            onChange={(event) => set({ services: event.target.value })}
          />
          <span className="dim">names or patterns, with commas between; * is every service</span>
        </label>
        {form.kind === "enrolment" && (
          <label>
            Hosts that it may enrol
            <input
              type="number"
              min={1}
              max={1_000_000}
              value={form.max_uses}
              onChange={(event) => set({ max_uses: event.target.valueAsNumber })}
            />
          </label>
        )}
        <label>
          Good for
          <select
            value={form.expires_in ?? ""}
            onChange={(event) => set({ expires_in: event.target.value === "" ? null : Number(event.target.value) })}
          >
            {LIVES.map(([name, seconds]) => (
              <option key={name} value={seconds ?? ""}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          What for
          <input
            type="text"
            maxLength={1024}
            placeholder="optional"
            value={form.description}
            onChange={(event) => set({ description: event.target.value })}
          />
        </label>
        {making.error && <Notice error={making.error} />}
        {wrong && <p className="dim">{wrong}</p>}
        <button type="submit" className="main" disabled={wrong !== "" || making.isPending}>
          Make it
        </button>
      </form>
    </Dialog>
  );
}

/** The secret, this once. The clipboard is there over TLS alone; elsewhere the marked text is copied as by hand. */
function Secret({ of, onClose }: { of: NewToken; onClose: () => void }) {
  const at = useRef<HTMLInputElement>(null);
  const [said, setSaid] = useState("");
  const copy = async () => {
    at.current?.select();
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(of.token);
      else if (!document.execCommand("copy")) throw new Error("the browser does not copy");
      setSaid("Copied.");
    } catch {
      setSaid("The browser does not let this page copy: the text is marked, copy it by the keyboard.");
    }
  };
  return (
    <Dialog title={`The secret of ${of.name || of.id}`} onClose={onClose}>
      <div className="secret">
        <p>It is shown this once: the server keeps a digest of it alone. Whoever loses it rotates the token.</p>
        <label>
          Secret
          <input
            ref={at}
            type="text"
            readOnly
            autoComplete="off"
            value={of.token}
            onFocus={(event) => event.target.select()}
          />
        </label>
        <div className="bar">
          <button type="button" className="main" onClick={() => void copy()}>
            Copy
          </button>
          <span role="status">{said}</span>
        </div>
      </div>
    </Dialog>
  );
}
