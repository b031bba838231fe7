import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Backend, Look, Method, Opened, Picture, Stretch } from "../src/core/backend";
import { isAbort } from "../src/core/backend";
import type { MapView } from "../src/core/map";
import { RasterLayer } from "../src/core/raster";
import { stretchToView } from "../src/core/stretch";

/** Answers when the test says so. */
class Slow implements Backend {
  /** Of statistics, in the order they were asked for; the 2nd and 98th percentile are given. */
  readonly answers: ((low: number, high: number) => void)[] = [];
  readonly given: { signal: AbortSignal | undefined; end: (error?: Error) => void }[] = [];

  ask<T>(method: Method, _: string | null, params: object, signal?: AbortSignal): Promise<T> {
    if (method === "legend") return Promise.resolve({ kind: "classes", classes: [] } as T);
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.answers.push((low, high) => resolve({
        resolution: 10, bands: [{
          name: (params as { look: Look }).look.bands?.[0], count: 9, valid: 9, min: low, max: high,
          mean: low, sd: 1, percentiles: { "2": low, "98": high },
        }],
      } as T));
    });
  }

  picture(_: Method, __: string, ___: object, signal?: AbortSignal): Promise<Picture> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
      this.given.push({
        signal,
        end: (error) => error ? reject(error) : resolve({ blob: new Blob(), resolution: 10 }),
      });
    });
  }
}

const ABOUT: Opened = {
  id: "a", bounds: [20, 45, 21, 46], native: null, dates: [], bands: [], resolution: 10,
};
const VIEW = {
  bounds: () => ({ bounds: [0, 0, 1, 1], crs: "EPSG:3857", width: 10, height: 10 }),
} as unknown as MapView;
const PERCENTILE: Stretch = { kind: "percentile", low: 2, high: 98 };

function raster(look: Look = {}): { backend: Slow; layer: RasterLayer } {
  const backend = new Slow();
  const layer = new RasterLayer(backend, ABOUT, {
    kind: "raster", key: "a", name: "a", visible: true, opacity: 1, source: {}, look,
  });
  return { backend, layer };
}

describe("a stretch that is worked out", () => {
  it("does not come over another stretch that was chosen meanwhile", async () => {
    const { backend, layer } = raster({ bands: ["B04"], stretch: PERCENTILE });
    const late = stretchToView(VIEW, layer, PERCENTILE);
    const newer: Look = { bands: ["B04"], stretch: { kind: "range", low: 0, high: 1 } };

    layer.look = newer;
    backend.answers[0]!(120, 880);

    await assert.rejects(late, isAbort);
    assert.deepEqual(layer.look, newer);
  });

  it("does not come over other bands", async () => {
    const { backend, layer } = raster({ bands: ["B04"] });
    const late = stretchToView(VIEW, layer, PERCENTILE);

    layer.look = { bands: ["B08"] };
    backend.answers[0]!(120, 880);

    await assert.rejects(late, isAbort);
    assert.deepEqual(layer.look, { bands: ["B08"] });
  });

  it("leaves the date, the colours and the gamma that were chosen meanwhile", async () => {
    const { backend, layer } = raster({ bands: ["B04"], time: "2020-01-01", colors: "gray" });
    const asked = stretchToView(VIEW, layer, PERCENTILE);

    layer.look = {
      bands: ["B04"], time: "2020-02-01", colors: "viridis", stretch: { ...PERCENTILE, gamma: 2 },
    };
    backend.answers[0]!(120, 880);
    await asked;

    assert.deepEqual(layer.look, {
      bands: ["B04"], time: "2020-02-01", colors: "viridis",
      stretch: { ...PERCENTILE, per_band: [[120, 880]], gamma: 2 },
    });
  });

  it("is that which was asked for last", async () => {
    const { backend, layer } = raster({ bands: ["B04"] });
    const first = stretchToView(VIEW, layer, PERCENTILE);
    const second = stretchToView(VIEW, layer, { kind: "minmax" });

    backend.answers[1]!(1, 2);
    await second;
    backend.answers[0]!(120, 880);

    await assert.rejects(first, isAbort);
    assert.deepEqual(layer.look.stretch, { kind: "minmax", per_band: [[1, 2]] });
  });
});

describe("tiles of a layer", () => {
  // 156543 m a pixel at level 0; at level 6 the bounds of the layer lie in the tiles 35 and 22.
  const resolution = 156543.03392804097 / 2 ** 6;
  const edge = 256 * resolution;
  const half = Math.PI * 6_378_137;
  const [left, top] = [35 * edge - half, half - 22 * edge];

  function load(layer: RasterLayer, x: number, y: number): void {
    layer.ol.getSource()!.getTile(6, x, y, 1, layer.ol.getSource()!.getProjection()!)!.load();
  }

  const soon = () => new Promise((resolve) => setImmediate(resolve));
  Object.assign(globalThis, { createImageBitmap: async () => ({ width: 256, height: 256 }) });

  it("that stay blank say why until they come or are out of sight", async () => {
    const { backend, layer } = raster();
    layer.keepOnly({ extent: [left, top - 2 * edge, left + edge, top], resolution });
    load(layer, 35, 22);
    load(layer, 35, 23);
    await soon();

    backend.given[0]!.end(new Error("The file is cut off."));
    await soon();
    backend.given[1]!.end();
    await soon();

    assert.equal(layer.error, "The file is cut off.");
    layer.keepOnly({ extent: [left, top - 2 * edge, left + 1, top - edge - 1], resolution });
    assert.equal(layer.error, null);
    layer.keepOnly({ extent: [left, top - 2 * edge, left + edge, top], resolution });
    assert.equal(layer.error, "The file is cut off.");
    layer.look = { bands: ["B08"] };
    assert.equal(layer.error, null);
  });

  it("are wanted in the worlds beside, too", async () => {
    const { backend, layer } = raster();
    load(layer, 35, 22);
    await soon();

    for (const n of [-1, 0, 1]) {
      const x = left + n * 2 * half;
      layer.keepOnly({ extent: [x + 1, top - edge, x + 2, top], resolution });
    }

    assert.equal(backend.given[0]!.signal!.aborted, false);
    layer.keepOnly({ extent: [left + half, top - edge, left + half + 1, top], resolution });
    assert.equal(backend.given[0]!.signal!.aborted, true);
  });
});
