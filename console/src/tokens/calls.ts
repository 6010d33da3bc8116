// What the page of tokens asks for.
import { client, everything, good } from "../api";
import type { components, paths } from "../schema";

export type Token = components["schemas"]["TokenView"];
export type NewToken = components["schemas"]["NewToken"];
export type Wish = paths["/api/v1/tokens"]["post"]["requestBody"]["content"]["application/json"];

export const tokens = () =>
  everything<Token>((cursor) =>
    good(client.GET("/api/v1/tokens", { params: { query: { limit: 1_000, sort: "-created_at", cursor } } })),
  );

export const make = (wish: Wish) => good(client.POST("/api/v1/tokens", { body: wish }));

export const rotate = (token_id: string, overlap: number) =>
  good(client.POST("/api/v1/tokens/{token_id}/rotate", { params: { path: { token_id } }, body: { overlap } }));

export const revoke = (token_id: string) =>
  good(client.DELETE("/api/v1/tokens/{token_id}", { params: { path: { token_id } } }));
