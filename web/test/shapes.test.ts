import assert from "node:assert/strict";
import { test } from "node:test";

import type { JsonObject } from "../src/core/backend";
import { exportGraph, GraphMissing } from "../src/core/jobgraph";
import { measured, sizeOf } from "../src/core/measure";
import { coordinates } from "../src/core/places";
import { fromText, MOST_SHAPES, ShapeInvalid } from "../src/core/shapes";

test("pairs of longitude and latitude become a closed polygon", () => {
  const [shape] = fromText("7.61 45.05, 7.66 45.05; 7.66 45.09");

  assert.deepEqual(shape?.geometry, {
    type: "Polygon",
    coordinates: [
      [
        [7.61, 45.05],
        [7.66, 45.05],
        [7.66, 45.09],
        [7.61, 45.05],
      ],
    ],
  });
});

test("lines and points come from the same text", () => {
  assert.equal(fromText("1 2, 3 4", "LineString")[0]?.geometry.type, "LineString");
  assert.deepEqual(
    fromText("1 2, 3 4", "Point").map((one) => one.geometry),
    [
      { type: "Point", coordinates: [1, 2] },
      { type: "Point", coordinates: [3, 4] },
    ],
  );
});

test("GeoJSON comes as it is: a geometry, a feature, a collection", () => {
  const geometry = { type: "Point", coordinates: [7, 45] };
  const feature = { type: "Feature", geometry, properties: { name: "mine" } };

  for (const given of [geometry, feature, { type: "FeatureCollection", features: [feature] }]) {
    assert.deepEqual(
      fromText(JSON.stringify(given)).map((one) => one.geometry),
      [geometry],
    );
  }
  assert.equal(fromText(JSON.stringify(feature))[0]?.properties?.["name"], "mine");
});

test("what is no shape is refused with the way out", () => {
  const many = {
    type: "FeatureCollection",
    features: Array.from({ length: MOST_SHAPES + 1 }, () => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: [1, 2] },
      properties: null,
    })),
  };
  const refused: [string, RegExp][] = [
    ["", /at least 3 places/],
    ["7 45, 8 46", /2 of at least 3/],
    ["1 1, 2 2, 1 1", /three different places/],
    ["7, 45, 8", /longitude and latitude/],
    ["700 45, 8 46, 9 47", /700 45/],
    ["4500000 2900000, 1 1, 2 2", /degrees/],
    ["{", /cut off/],
    ['{"type": "Topology"}', /Topology/],
    ['{"type": "Polygon", "coordinates": []}', /no coordinates/],
    ['{"type": "Point", "coordinates": ["a", "b"]}', /no longitude/],
    ['{"type": "FeatureCollection", "features": []}', /no shape/],
    ["[1, 2]", /no shape|null/],
    [JSON.stringify(many), /too many/],
  ];
  for (const [text, why] of refused) {
    assert.throws(
      () => fromText(text),
      (error: Error) => {
        assert.ok(error instanceof ShapeInvalid, `${text}: ${error.stack ?? ""}`);
        assert.match(error.message, why);
        return true;
      },
    );
  }
});

test("sizes of shapes are told in words", () => {
  const square = [
    [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1],
      [0, 0],
    ],
  ];

  assert.match(sizeOf({ type: "Polygon", coordinates: square }), /^12.* km², 44\d.* km around$/);
  assert.equal(sizeOf({ type: "Point", coordinates: [7.5, 45] }), "7.50000, 45.00000");
  assert.equal(measured({ type: "Point", coordinates: [7.5, 45] }), null);
  assert.equal(
    measured({ type: "MultiPolygon", coordinates: [square, square] })?.squareMetres,
    2 * measured({ type: "Polygon", coordinates: square })!.squareMetres!,
  );
});

test("coordinates are found in what people type into the search box", () => {
  assert.deepEqual(coordinates("45.07, 7.68"), { lon: 7.68, lat: 45.07 });
  assert.deepEqual(coordinates(" -33.9 151.2 "), { lon: 151.2, lat: -33.9 });
  assert.deepEqual(coordinates("7.68 E 45.07 N"), { lon: 7.68, lat: 45.07 });
  assert.deepEqual(coordinates("33.9°S, 18.4°W"), { lon: -18.4, lat: -33.9 });
  assert.equal(coordinates("Turin"), null);
  assert.equal(coordinates("95, 10"), null);
});

const AREA = {
  bounds: [500_000, 5_000_000, 510_000, 5_010_000] as [number, number, number, number],
  crs: "EPSG:32634",
};

test("a job's graph is the layer's, cut to the view and the date and saved", () => {
  const graph = { load: { process_id: "load_collection", arguments: { id: "s2" }, result: true } };

  const made = exportGraph(
    { process_graph: graph }, AREA, { label: "2024-05-03T09:41:00Z", dimension: "t" }, "COG",
  );

  assert.deepEqual(made, {
    load: { process_id: "load_collection", arguments: { id: "s2" } },
    cut: {
      process_id: "filter_bbox",
      arguments: {
        data: { from_node: "load" },
        extent: { west: 500_000, south: 5_000_000, east: 510_000, north: 5_010_000, crs: 32634 },
      },
    },
    date: {
      process_id: "filter_temporal",
      arguments: {
        data: { from_node: "cut" },
        extent: ["2024-05-03T09:41:00Z", "2024-05-03T09:41:01Z"],
      },
    },
    save: {
      process_id: "save_result",
      arguments: { data: { from_node: "date" }, format: "COG" },
      result: true,
    },
  });
  assert.equal(graph.load.result, true);
});

test("a graph that saves itself already is saved once, and names that are taken stay", () => {
  const process_graph: JsonObject = {
    cut: { process_id: "load_collection", arguments: {} },
    end: {
      process_id: "save_result",
      arguments: { data: { from_node: "cut" }, format: "PNG" },
      result: true,
    },
  };

  const made = exportGraph(
    { process: { process_graph } },
    { ...AREA, crs: "odd", wkt: "PROJCS[]" },
    null,
    "COG",
  );

  assert.deepEqual(Object.keys(made).sort(), ["cut", "cut2", "save"]);
  assert.equal(
    ((made["cut2"] as JsonObject)["arguments"] as { extent: JsonObject }).extent["crs"],
    "PROJCS[]",
  );
});

test("a period is kept by its name, in the dimension that has it", () => {
  const process_graph = { load: { process_id: "load_collection", arguments: {}, result: true } };

  for (const label of ["2020", "2020-05", "2020-djf"]) {
    const made = exportGraph({ process_graph }, AREA, { label, dimension: "time" }, "COG");

    assert.deepEqual(made["date"], {
      process_id: "filter_labels",
      arguments: {
        data: { from_node: "cut" },
        dimension: "time",
        condition: {
          process_graph: {
            same: {
              process_id: "eq",
              arguments: { x: { from_parameter: "value" }, y: label },
              result: true,
            },
          },
        },
      },
    });
  }
  assert.throws(
    () => exportGraph({ process_graph }, AREA, { label: "2020", dimension: null }, "COG"),
    /Choose all dates/,
  );
});

test("a layer without a graph, or without a result, cannot become a job", () => {
  assert.throws(() => exportGraph({ service: { id: "x" } }, AREA, null, "COG"), GraphMissing);
  assert.throws(() => exportGraph({ process_graph: {} }, AREA, null, "COG"), GraphMissing);
});
