import assert from "node:assert/strict";
import { test } from "node:test";

import { NearestBackend, mayReach, mayTell } from "../src/widget/direct";
import type { KernelBackend } from "../src/widget/kernel";

const HERE = { protocol: "http:", hostname: "127.0.0.1" };
const TILE = { matrix: "native", z: 3, x: 1, y: 2, look: { colors: "magma" }, format: "png" };
const DIRECT = { url: "http://127.0.0.1:8080/secret", layer: "abc", token: "basic//t" };

/** A kernel that tells where its one layer is computed, and gives tiles itself. */
class Kernel {
  readonly asked: string[] = [];

  constructor(private readonly direct: object | null = DIRECT) {}

  ask(method: string): Promise<unknown> {
    this.asked.push(method);
    return Promise.resolve({ id: "0-abc", direct: this.direct });
  }

  picture(method: string): Promise<unknown> {
    this.asked.push(method);
    return Promise.resolve({ blob: new Blob(["kernel"]), resolution: 10 });
  }
}

/** A server that notes what it is asked, and answers as it is told to. */
function server(...answers: (number | Error)[]) {
  const seen: [string, string | null][] = [];
  const fetch = async (address: URL, options: RequestInit): Promise<Response> => {
    seen.push([String(address), new Headers(options.headers).get("Authorization")]);
    assert.deepEqual([options.redirect, options.credentials], ["error", "omit"]);
    const answer = answers.shift() ?? 200;
    if (typeof answer !== "number") throw answer;
    return new Response("server", { status: answer, headers: { "X-Resolution-Metres": "20" } });
  };
  return { seen, fetch };
}

function nearest(kernel: Kernel, fetch: ReturnType<typeof server>["fetch"], page = HERE): NearestBackend {
  return new NearestBackend(kernel as unknown as KernelBackend, page, fetch);
}

async function opened(backend: NearestBackend): Promise<void> {
  await backend.ask("open", null, {});
  await new Promise((done) => setImmediate(done)); // the server has answered or not
}

test("a server that has answered this page is asked for tiles, with the rights of the connection", async () => {
  const kernel = new Kernel(), { seen, fetch } = server();
  const backend = nearest(kernel, fetch);
  await opened(backend);

  const { blob, resolution } = await backend.picture("tile", "0-abc", TILE);
  await backend.ask("values", "0-abc", {});

  assert.deepEqual([await blob.text(), resolution], ["server", 20]);
  const look = encodeURIComponent(JSON.stringify(TILE.look));
  assert.deepEqual(seen, [
    ["http://127.0.0.1:8080/secret/layers/abc", "Bearer basic//t"],
    [`http://127.0.0.1:8080/secret/layers/abc/tiles/native/3/1/2.png?look=${look}`, "Bearer basic//t"],
  ]);
  assert.deepEqual(kernel.asked, ["open", "values"]);
});

test("pictures of other projections, and tiles of layers of the kernel, come from the kernel", async () => {
  const { seen, fetch } = server();
  const with_server = nearest(new Kernel(), fetch), without = nearest(new Kernel(null), fetch);
  await opened(with_server);
  await opened(without);

  const answers = [await with_server.picture("picture", "0-abc", {}), await without.picture("tile", "0-abc", TILE)];

  for (const { blob } of answers) assert.equal(await blob.text(), "kernel");
  assert.equal(seen.length, 1); // whether it may be asked
});

for (const [name, answer] of [["cannot be reached", new TypeError("Failed to fetch")], ["refuses", 401]] as const) {
  test(`a server that ${name} is not asked for tiles`, async () => {
    const kernel = new Kernel(), { seen, fetch } = server(answer);
    const backend = nearest(kernel, fetch);
    await opened(backend);

    await backend.picture("tile", "0-abc", TILE);

    assert.equal(seen.length, 1);
    assert.deepEqual(kernel.asked, ["open", "tile"]);
  });
}

for (const [name, answer, again] of [
  ["is gone", new TypeError("Failed to fetch"), 2], ["has a token that is too old", 401, 2], ["fails once", 500, 3],
] as const) {
  test(`where a server ${name} a tile comes by the kernel`, async () => {
    const kernel = new Kernel(), { seen, fetch } = server(200, answer, 200);
    const backend = nearest(kernel, fetch);
    await opened(backend);

    const { blob } = await backend.picture("tile", "0-abc", TILE);
    await backend.picture("tile", "0-abc", TILE);

    assert.equal(await blob.text(), "kernel");
    assert.equal(seen.length, again);
  });
}

test("a tile that nobody wants any more is not asked for again", async () => {
  const kernel = new Kernel(), { fetch } = server(200, new DOMException("Gone.", "AbortError"));
  const backend = nearest(kernel, fetch);
  await opened(backend);

  await assert.rejects(backend.picture("tile", "0-abc", TILE), { name: "AbortError" });

  assert.deepEqual(kernel.asked, ["open"]);
});

test("a token goes only to a machine that proves its name, or to the browser's own", async () => {
  for (const url of ["https://eo.example/", "http://127.0.0.1:8080", "http://localhost:8080"]) {
    assert.ok(mayTell({ url, token: "t" }));
  }
  assert.ok(mayTell({ url: "http://terrazzo:8080", token: null }));
  assert.ok(!mayTell({ url: "http://terrazzo:8080", token: "t" }));

  const named = { ...DIRECT, url: "http://terrazzo:8080" };
  const { seen, fetch } = server();
  const told = nearest(new Kernel(named), fetch), open = nearest(new Kernel({ ...named, token: null }), fetch);
  await opened(told);
  await opened(open);
  for (const backend of [told, open]) await backend.picture("tile", "0-abc", TILE);

  assert.deepEqual(seen.map(([, token]) => token), [null, null]);
});

test("a browser elsewhere does not look for the kernel's machine on its own, nor for mixed content", () => {
  const hub = { protocol: "https:", hostname: "hub.example" };

  assert.ok(mayReach("http://127.0.0.1:8080/secret", HERE));
  assert.ok(mayReach("http://localhost:8080", { protocol: "https:", hostname: "localhost" }));
  assert.ok(mayReach("https://eo.example/terrazzo", hub));
  assert.ok(mayReach("http://eo.example", HERE));
  assert.ok(!mayReach("http://127.0.0.1:8080", hub));
  assert.ok(!mayReach("http://[::1]:8080", hub));
  assert.ok(!mayReach("http://eo.example", hub));
  assert.ok(!mayReach("eo.example", hub));
});
