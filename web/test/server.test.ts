import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { fetched, onHere, token } from "../src/http/server";

const PAGE = "https://maps.example/terrazzo/explorer";
const held = new Map<string, string>();
const sent: { address: string; token: string | null }[] = [];

Object.assign(globalThis, {
  location: new URL(PAGE),
  document: { documentElement: { dataset: { root: "./" } } },
  sessionStorage: {
    getItem: (name: string) => held.get(name) ?? null,
    setItem: (name: string, text: string) => held.set(name, text),
    removeItem: (name: string) => held.delete(name),
  },
  fetch: (address: URL | string, options: RequestInit) => {
    const headers = new Headers(options.headers);
    sent.push({ address: String(address), token: headers.get("Authorization") });
    return Promise.resolve(new Response("{}"));
  },
});

describe("a token", () => {
  beforeEach(() => {
    token.set("basic//secret");
    sent.length = 0;
  });

  it("goes to this server", async () => {
    const file = "https://inside.example:8000/jobs/4/results/a.tif?signature=1";

    await fetched("layers");
    await fetched(onHere(file));

    assert.deepEqual(sent, [
      { address: "layers", token: "Bearer basic//secret" },
      {
        address: "https://maps.example/terrazzo/jobs/4/results/a.tif?signature=1",
        token: "Bearer basic//secret",
      },
    ]);
  });

  it("goes to no other, whatever a document says", async () => {
    const others = [
      "https://elsewhere.example/a.tif",
      "//elsewhere.example/terrazzo/a.tif",
      "http://maps.example/terrazzo/a.tif",
      "https://maps.example/terrazzo-of-others/a.tif",
      "../user/other/a.tif",
    ];

    for (const href of others) await fetched(onHere(href));

    assert.deepEqual(sent.map((one) => one.token), others.map(() => null));
  });
});
