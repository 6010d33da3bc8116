// The page to sign in at: with a token, or at the issuer that the server is told of.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { signIn, ways } from "./api";
import { Notice } from "./parts";
import { duration } from "./words";

/** Why the issuer's way did not lead in, by what the server says within the document. */
const WHY: Record<string, string> = {
  foreign: "This sign-in was not begun in this browser, or longer than ten minutes ago. Begin it again.",
  denied: "The issuer did not sign you in. Begin again, or sign in with a token.",
  stale: "What the issuer answered was used already, or has expired. Begin again.",
  unfit:
    "What the issuer answered does not belong to this sign-in. Begin again; if that does not help, tell who runs this server.",
  nobody: "The issuer knows you, but nothing is granted to you here. Ask who runs this server for a grant.",
  "not offered": "Nobody signs in by OpenID Connect here. Sign in with a token.",
  "too many":
    "Too many sign-ins from your network have failed just now, so this one was not looked at. Nothing is wrong with yours.",
  misconfigured:
    "The issuer does not take this server for its client. Tell who runs this server: its log says what is wrong.",
  unavailable: "The issuer cannot be reached just now. Try again soon, or sign in with a token.",
  "not ready": "The server has no broker just now. Try again soon.",
};

/** What the server has written into the document. The address has a code that is spent: what was asked for takes its place. */
function whyNot(): string | undefined {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="studio-not-signed-in"]');
  if (meta === null) return undefined;
  window.history.replaceState(null, "", meta.dataset.to);
  const said = WHY[meta.content] ?? "You could not be signed in.";
  return meta.content === "too many" ? `${said} Begin again in ${duration(Number(meta.dataset.wait))}.` : said;
}
let refused = whyNot();

/** `hasEnded`: somebody was signed in here until now. */
export function SignIn({ hasEnded }: { hasEnded: boolean }) {
  const queries = useQueryClient();
  const [token, setToken] = useState("");
  const offered = useQuery({ queryKey: ["ways"], queryFn: ways, staleTime: Number.POSITIVE_INFINITY });
  const entering = useMutation({
    mutationFn: signIn,
    onSuccess: async () => {
      refused = undefined;
      setToken("");
      await queries.resetQueries();
    },
  });
  const to = new URLSearchParams({ to: `${window.location.pathname}${window.location.search}` });
  return (
    <main className="narrow card">
      <h1>Performance Studio</h1>
      {refused && !entering.error && <Notice error={new Error(refused)} />}
      {hasEnded && !entering.error && (
        <Notice error={new Error("Your sign-in has ended. Sign in again: you come back to this page.")} />
      )}
      {offered.data?.oidc && (
        <>
          <p>
            <a className="button main" href={`/sign-in/oidc?${to}`}>
              Sign in with OpenID Connect
            </a>
          </p>
          <p className="dim">or</p>
        </>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          entering.mutate(token.trim());
        }}
      >
        <label htmlFor="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          required
          // biome-ignore lint/a11y/noAutofocus: the one thing to write here
          autoFocus
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
        <p className="dim">
          Of a viewer, an operator or an admin; <code>studio token</code> shows yours. It is sent once. The browser
          keeps a sign-in of twelve hours that no script can read.
        </p>
        {entering.error && <Notice error={entering.error} />}
        <button
          type="submit"
          className={offered.data?.oidc ? undefined : "main"}
          disabled={entering.isPending || token.trim() === ""}
        >
          Sign in
        </button>
      </form>
    </main>
  );
}
