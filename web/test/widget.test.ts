import assert from "node:assert/strict";
import { test } from "node:test";

import { emptyState, type RasterState, type ScreenState } from "../src/core/state";
import { difference, merged } from "../src/widget/changes";
import { type Channel, KernelBackend } from "../src/widget/kernel";

function layer(key: string, opacity = 1): RasterState {
  return { key, kind: "raster", name: key, visible: true, opacity, source: {}, look: {} };
}

function state(...layers: RasterState[]): ScreenState {
  return { ...emptyState(), layers };
}

test("only what has changed is told, and what was told makes the one state of the other", () => {
  const before = state(layer("a"), layer("b"), layer("c"));
  const after = { ...state(layer("c"), layer("a", 0.5), layer("d")), time: "2018-05-01" };

  const patch = difference(before, after);

  assert.deepEqual(patch, {
    time: "2018-05-01",
    layers: {
      set: { a: { opacity: 0.5 }, d: layer("d") }, gone: ["b"], order: ["c", "a", "d"],
    },
  });
  assert.deepEqual(merged(before, patch!), after);
  assert.equal(difference(after, after), null);
});

test("a layer that came meanwhile survives an order that does not know it", () => {
  const made = merged(state(layer("a"), layer("b"), layer("new")), { layers: { order: ["b", "a"] } });

  assert.deepEqual(made.layers.map(({ key }) => key), ["b", "a", "new"]);
});

/** A kernel that answers when the test says so. */
class Kernel implements Channel {
  readonly sent: { id?: string; cancel?: string; params?: { n: number } }[] = [];
  #listener: (message: unknown, buffers: readonly DataView[]) => void = () => undefined;

  send(message: object): void {
    this.sent.push(message);
  }

  listen(listener: (message: unknown, buffers: readonly DataView[]) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  answer(id: string, content: object, bytes?: Uint8Array): void {
    this.#listener({ id, ...content }, bytes ? [new DataView(bytes.buffer as ArrayBuffer)] : []);
  }

  get asked(): number[] {
    return this.sent.flatMap(({ params }) => params ? [params.n] : []);
  }
}

test("five questions are on their way at most, the newest first", async () => {
  const kernel = new Kernel();
  const backend = new KernelBackend(kernel, () => 0);

  const answers = [0, 1, 2, 3, 4, 5, 6].map((n) => backend.ask<number>("values", "a", { n }));
  await Promise.resolve();
  assert.deepEqual(kernel.asked, [6, 5, 4, 3, 2]);
  kernel.answer(kernel.sent[0]!.id!, { result: 60 });
  assert.equal(await answers[6], 60);

  assert.deepEqual(kernel.asked, [6, 5, 4, 3, 2, 1]);
  for (const one of answers) one.catch(() => undefined);
  backend.destroy();
});

test("what scrolled away is taken back, and never asked if it was not yet", async () => {
  const kernel = new Kernel();
  const backend = new KernelBackend(kernel, () => 0);
  const stops = Array.from({ length: 7 }, () => new AbortController());
  const answers = stops.map(({ signal }, n) => backend.ask("values", "a", { n }, signal));
  await Promise.resolve();

  stops[0]!.abort(); // waits here
  stops[6]!.abort(); // is on its way

  await assert.rejects(answers[0]!, { name: "AbortError" });
  await assert.rejects(answers[6]!, { name: "AbortError" });
  assert.deepEqual(kernel.sent.filter((one) => one.cancel), [{ cancel: kernel.sent[0]!.id }]);
  assert.deepEqual(kernel.asked, [6, 5, 4, 3, 2, 1]);
  for (const one of answers) one.catch(() => undefined);
  backend.destroy();
});

test("what is not answered for long is asked again, and people are told that they wait", async () => {
  let now = 0;
  const kernel = new Kernel();
  const backend = new KernelBackend(kernel, () => now);
  const told: boolean[] = [];
  backend.onwaiting = (waiting) => told.push(waiting);
  const answer = backend.ask("values", "a", { n: 1 });
  await Promise.resolve();

  now = 5_000;
  backend.tick();
  now = 16_000;
  backend.tick();
  kernel.answer(kernel.sent[0]!.id!, { result: 7 });

  assert.equal(await answer, 7);
  assert.deepEqual(kernel.asked, [1, 1]);
  assert.equal(kernel.sent[0]!.id, kernel.sent[1]!.id);
  assert.deepEqual(told, [true, false]);
  backend.destroy();
});

test("a picture comes with its type and its resolution, an error in the kernel's words", async () => {
  const kernel = new Kernel();
  const backend = new KernelBackend(kernel, () => 0);
  const picture = backend.picture("tile", "a", {});
  await Promise.resolve();
  kernel.answer(
    kernel.sent[0]!.id!, { result: { media_type: "image/png", resolution: 20 } },
    new Uint8Array([1, 2, 3]),
  );
  const { blob, resolution } = await picture;
  const refused = backend.ask("values", "a", {});
  await Promise.resolve();
  kernel.answer(kernel.sent[1]!.id!, { error: { code: "LayerGone", message: "Run it again." } });

  assert.deepEqual([blob.type, blob.size, resolution], ["image/png", 3, 20]);
  await assert.rejects(refused, { message: "Run it again.", code: "LayerGone" });
  backend.destroy();
});
