import assert from "node:assert/strict";
import { test } from "node:test";

import { collectionGraph, dayAfter, momentOf } from "../src/pages/graphs";

const BANDS = [{ name: "B4", common: "red" }, { name: "B8", common: "nir" }];

test("a formula reads only its bands, within the extent", () => {
  const graph = collectionGraph("s2", { box: [20, 44, 21, 45], time: ["2020-01-01", null] }, BANDS, "nir / red", 20);

  const loaded = graph.load!.arguments;
  assert.deepEqual(loaded.bands, ["B8", "B4"]);
  assert.deepEqual(loaded.spatial_extent, { west: 20, south: 44, east: 21, north: 45 });
  assert.deepEqual(loaded.temporal_extent, ["2020-01-01", null]);
  assert.match(JSON.stringify(loaded.properties), /"eo:cloud_cover".*"lte".*"y":20/);
  assert.deepEqual(Object.keys(graph).filter((id) => graph[id]!.result), ["formula"]);
});

test("intervals are half-open", () => {
  assert.equal(dayAfter("2019-12-31"), "2020-01-01");
  assert.deepEqual(momentOf("2018-05-01T10:20:31.123Z"), ["2018-05-01T10:20:31.123Z", "2018-05-01T10:20:31.124Z"]);
});
