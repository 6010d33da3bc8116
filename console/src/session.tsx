// Who is signed in, what they may do, and the page to sign in at.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useState } from "react";
import { type Me, Refused, signIn, whoAmI } from "./api";
import { Notice } from "./parts";
import { type Rights, rightsOf } from "./rights";

const Whose = createContext<Me | undefined>(undefined);

/** The token of the sign-in. Only below `SignedIn`. */
export function useMe(): Me {
  const me = useContext(Whose);
  if (me === undefined) throw new Error("nobody is signed in here");
  return me;
}

/** What is offered to this sign-in. The server refuses the rest all the same. */
export const useRights = (): Rights => rightsOf(useMe());

/** Whether what changes something is offered. */
export const useMayAct = (): boolean => useRights().act;

/** What is below, once somebody is signed in; else the page to do so. */
export function SignedIn({ children }: { children: React.ReactNode }) {
  const me = useQuery({
    queryKey: ["me"],
    queryFn: whoAmI,
    retry: (failures, error) => !(error instanceof Refused && error.status === 401) && failures < 1_000,
    retryDelay: 2_000,
    staleTime: 60_000,
  });
  if (me.error instanceof Refused && me.error.status === 401) return <SignIn />;
  if (me.data === undefined)
    return <main className="narrow">{me.failureReason ? <Notice error={me.failureReason} /> : <p>Loading…</p>}</main>;
  return <Whose value={me.data}>{children}</Whose>;
}

function SignIn() {
  const queries = useQueryClient();
  const [token, setToken] = useState("");
  const entering = useMutation({
    mutationFn: signIn,
    onSuccess: async () => {
      setToken("");
      await queries.resetQueries();
    },
  });
  return (
    <main className="narrow card">
      <h1>Performance Studio</h1>
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
          // biome-ignore lint/a11y/noAutofocus: the one thing to do here
          autoFocus
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
        <p className="dim">
          Of a viewer, an operator or an admin; <code>studio token</code> shows yours. It is sent once. The browser
          keeps a sign-in of twelve hours that no script can read.
        </p>
        {entering.error && <Notice error={entering.error} />}
        <button type="submit" className="main" disabled={entering.isPending || token.trim() === ""}>
          Sign in
        </button>
      </form>
    </main>
  );
}
