// Who is signed in, and what they may do.
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { type Me, Refused, whoAmI } from "./api";
import { Notice } from "./parts";
import { type Rights, rightsOf } from "./rights";
import { SignIn } from "./sign-in";

/** Under which key it stands who is signed in. */
export const ME = ["me"];

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
    queryKey: ME,
    queryFn: whoAmI,
    retry: (failures, error) => !(error instanceof Refused && error.status === 401) && failures < 1_000,
    retryDelay: 2_000,
    staleTime: 60_000,
  });
  if (me.error instanceof Refused && me.error.status === 401) return <SignIn hasEnded={me.data !== undefined} />;
  if (me.data === undefined)
    return <main className="narrow">{me.failureReason ? <Notice error={me.failureReason} /> : <p>Loading…</p>}</main>;
  return <Whose value={me.data}>{children}</Whose>;
}
