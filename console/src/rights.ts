// What a token may do, as far as the page has to know: it offers nothing else. The server judges all the same. Pure.
import type { Me } from "./api";

export interface Rights {
  /** Ask for profiles, cancel, replay; delete schedules. */
  act: boolean;
  /** Make, change, pause and resume schedules: they outlive a sign-in of the issuer's. */
  schedule: boolean;
  /** Read the audit trail. */
  audit: boolean;
  /** Verify its chain, which is of all services. */
  chain: boolean;
  /** Make, rotate and revoke tokens. */
  tokens: boolean;
  /** See the roles, which work for all tenants. */
  installation: boolean;
}

export function rightsOf(me: Pick<Me, "id" | "kind" | "services" | "tenant">): Rights {
  const everything = me.services.includes("*");
  const isAdmin = me.kind === "admin";
  const act = isAdmin || me.kind === "operator";
  const audit = isAdmin || me.kind === "viewer";
  return {
    act,
    schedule: act && !me.id.startsWith("oidc:"),
    audit,
    chain: audit && everything,
    tokens: isAdmin && everything,
    installation: isAdmin && everything && me.tenant === "default",
  };
}
