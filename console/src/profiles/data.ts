// What the library of profiles asks the API for.
import { client, good } from "../api";
import { asked, type Selection } from "../flame/selection";
import type { components } from "../schema";

export type Profile = components["schemas"]["ProfileSummary"];
export type Timeline = components["schemas"]["Timeline"];

const PAGE = 100;

export const profiles = (of: Selection, cursor: string | undefined) =>
  good(client.GET("/api/v1/profiles", { params: { query: { ...asked(of), limit: PAGE, cursor } } }));

export const timeline = (of: Selection) =>
  good(client.GET("/api/v1/flamegraph/timeline", { params: { query: asked(of) } }));
