import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { About, BandStatistics, Look } from "../src/core/backend";
import { cutLine, cutRing, domain, unpack, within } from "../src/core/land";
import { EDGE, lensBox } from "../src/core/lens";
import { absolute, limits, percentile } from "../src/core/look";
import { ColoursInvalid, readColours, writeColours } from "../src/core/owncolours";
import {
  atHome, fromDegrees, projectionOf, resolutionAt, toDegrees, zoomAt,
} from "../src/core/projections";
import {
  StateInvalid, decodeState, emptyState, encodeState, validState, type ScreenState,
} from "../src/core/state";
import { tilesFor } from "../src/core/tiles";

const BAND: BandStatistics = {
  name: "B04", count: 100, valid: 90, min: 10, max: 210, mean: 100, sd: 20,
  percentiles: { "2": 20, "50": 110, "98": 200 }, histogram: { edges: [], counts: [] },
};

describe("a look", () => {
  it("is sent as numbers, whatever they were found by", () => {
    const look: Look = {
      bands: ["B04"],
      stretch: { kind: "percentile", low: 2, high: 98, per_band: [[20, 200]], gamma: 1.5 },
    };

    const sent = absolute(look);

    assert.deepEqual(sent.stretch, { kind: "range", per_band: [[20, 200]], gamma: 1.5 });
  });

  it("is sent without a stretch while nobody knows what it comes to", () => {
    assert.deepEqual(absolute({ bands: ["B04"], stretch: { kind: "minmax" } }), { bands: ["B04"] });
  });

  it("has one range for each of three bands", () => {
    const look: Look = { bands: ["r", "g", "b"], stretch: { kind: "range", low: 0, high: 9 } };

    assert.deepEqual(absolute(look).stretch?.per_band, [[0, 9], [0, 9], [0, 9]]);
  });

  it("goes from percentile to percentile, between those that were computed, too", () => {
    assert.deepEqual(limits({ kind: "percentile", low: 2, high: 98 }, BAND), [20, 200]);
    // 26 lies half way between 2 and 50.
    assert.equal(percentile(BAND, 26), 20 + (110 - 20) / 2);
    assert.equal(percentile(BAND, 100), BAND.max);
  });

  it("goes some deviations either side of the mean", () => {
    assert.deepEqual(limits({ kind: "sd", low: 1.5 }, BAND), [100 - 30, 100 + 30]);
  });

  it("has two ends even where all values are equal or there are none", () => {
    const flat = { ...BAND, min: 7, max: 7 };
    const none = { ...BAND, min: null, max: null };

    assert.deepEqual(limits({ kind: "minmax" }, flat), [7, 8]);
    assert.deepEqual(limits({ kind: "minmax" }, none), [0, 1]);
  });
});

describe("own colours", () => {
  it("are read as they are written, sorted by value", () => {
    const stops = readColours("10 #FF0000\n-1.5, #00ff00", "stops");

    assert.deepEqual(stops, [[-1.5, "#00ff00"], [10, "#ff0000"]]);
    assert.deepEqual(readColours(writeColours(stops as [number, string][]), "stops"), stops);
  });

  it("may be classes with labels of several words", () => {
    const classes = readColours("1 #00ff00 winter wheat\n2 #0000ff", "classes");

    assert.deepEqual(classes, {
      classes: [
        { value: 1, color: "#00ff00", label: "winter wheat" },
        { value: 2, color: "#0000ff", label: "" },
      ],
    });
  });

  it("are refused with the line that is none", () => {
    assert.throws(() => readColours("1 red", "classes"), (error: Error) =>
      error instanceof ColoursInvalid && error.message.includes('"1 red"'));
    assert.throws(() => readColours("1 #ff0000", "stops"), ColoursInvalid);
  });
});

describe("a state", () => {
  const state: ScreenState = {
    ...emptyState(), extra: { mine: [1, "ä→"] },
    layers: [{
      kind: "raster", key: "a", name: "Ndvi ✓", visible: true, opacity: 0.5,
      look: { bands: ["x"] },
      source: { process_graph: { a: { process_id: "load_collection", arguments: {} } } },
    }],
  };

  it("comes back out of an address as it went in", async () => {
    const text = await encodeState(state);

    assert.match(text, /^[-\w]+$/);
    assert.deepEqual(await decodeState(text), state);
  });

  it("is refused in words when the address was cut off", async () => {
    const text = await encodeState(state);

    await assert.rejects(decodeState(text.slice(0, -9)), StateInvalid);
    await assert.rejects(decodeState("%%%"), StateInvalid);
  });

  it("is not unpacked without end", async () => {
    const bomb = await encodeState({ ...state, extra: { much: "0".repeat(9_000_000) } });

    await assert.rejects(decodeState(bomb), StateInvalid);
  });

  it("is refused when it is something else", () => {
    const wrong = [
      null, 3, {}, { ...state, version: 2 }, { ...state, layers: [{ kind: "video" }] },
      { ...state, view: { centre: [1, Number.NaN], zoom: 1, projection: "EPSG:3857" } },
    ];

    for (const one of wrong) assert.throws(() => validState(one), StateInvalid);
  });
});

describe("projections", () => {
  it("have zoom levels of the same scale as Web Mercator", () => {
    const laea = projectionOf("EPSG:3035");

    assert.equal(resolutionAt(3, laea), 156543.03392804097 / 8);
    assert.ok(Math.abs(zoomAt(resolutionAt(7.25, laea), laea) - 7.25) < 1e-12);
  });

  it("take bounds there and back", () => {
    // The false origin of ETRS89-LAEA is 10 E, 52 N.
    const [left, bottom, right, top] = toDegrees(
      [4_320_999, 3_209_999, 4_321_001, 3_210_001], "EPSG:3035",
    );

    for (const lon of [left, right]) assert.ok(Math.abs(lon - 10) < 1e-4);
    for (const lat of [bottom, top]) assert.ok(Math.abs(lat - 52) < 1e-4);
  });

  it("keep the poles out of Web Mercator", () => {
    assert.ok(fromDegrees([-180, -90, 180, 90], "EPSG:3857").every(Number.isFinite));
  });
});

describe("a view beside the world", () => {
  const world = 2 * Math.PI * 6_378_137; // once around the sphere of Web Mercator
  const seen: [number, number, number, number] = [2e6, 5e6, 2.5e6, 5.2e6];

  it("is asked about in the world that data lie in", () => {
    for (const n of [-2, -1, 0, 1, 3]) {
      const [left, bottom, right, top] = seen;

      const home = atHome([left + n * world, bottom, right + n * world, top], "EPSG:3857");

      home.forEach((side, i) => assert.ok(Math.abs(side - seen[i]!) < 1e-6));
    }
    assert.deepEqual(atHome([371, 40, 373, 42], "EPSG:4326"), [11, 40, 13, 42]);
  });

  it("stays whole over the edge of the world", () => {
    assert.deepEqual(atHome([170, 0, 189, 5], "EPSG:4326"), [170, 0, 189, 5]);
    assert.deepEqual(atHome([172, 0, 191, 5], "EPSG:4326"), [-188, 0, -169, 5]);
  });

  it("has no twin in a plane that ends", () => {
    assert.deepEqual(atHome([9e6, 0, 9.1e6, 1], "EPSG:3035"), [9e6, 0, 9.1e6, 1]);
  });
});

describe("tiles", () => {
  const about: About = {
    id: "a", bounds: [20, 45, 21, 46], dates: [], bands: [], resolution: 10,
    native: {
      crs: "EPSG:32634", proj4: "+proj=utm +zone=34 +datum=WGS84 +units=m",
      origin: [4e5, 5.1e6], resolutions: [40, 20, 10], tile_size: 256,
      extent: [4e5, 5.0e6, 5e5, 5.1e6],
    },
  };

  it("are the layer's own in its own projection, and pictures in foreign ones", () => {
    projectionOf("EPSG:32634");

    assert.equal(tilesFor(about, "EPSG:3857").matrix, "WebMercatorQuad");
    assert.equal(tilesFor(about, "EPSG:32634").matrix, "native");
    assert.equal(tilesFor(about, "EPSG:3035").matrix, null);
  });

  it("of oblong pixels are pictures", () => {
    const oblong: About = { ...about, native: { ...about.native!, pixel: [10, -20] } };

    assert.equal(tilesFor(oblong, "EPSG:32634").matrix, null);
  });

  it("lie where the matrix has them", () => {
    const { grid } = tilesFor(about, "EPSG:32634");

    // Level 2: 256 pixels of 10 m; the second tile of the second row.
    assert.deepEqual(grid.getTileCoordExtent([2, 1, 1]), [
      4e5 + 2560, 5.1e6 - 5120, 4e5 + 5120, 5.1e6 - 2560,
    ]);
  });
});

describe("the lens", () => {
  it("shows a pixel of the layer in each of its own while the map is coarser", () => {
    // 300 map units are 160 m, so 10 m are 300 / 16.
    assert.deepEqual(lensBox(10, 160, 300), { edge: EDGE * 300 / 16, pixels: EDGE });
  });

  it("goes no finer than the layer where the map does", () => {
    // 10 m are 5 pixels of 2 m, 3 map units each.
    assert.deepEqual(lensBox(10, 2, 3), { edge: EDGE / 5 * 15, pixels: EDGE / 5 });
  });
});

describe("the land of the basemap", () => {
  const file = {
    source: "", unit: 1,
    // Two squares that share the arc from (10, 0) to (10, 10).
    arcs: [[10, 0, 0, 10], [10, 10, -10, 0, 0, -10, 10, 0], [10, 0, 10, 0, 0, 10, -10, 0]],
    countries: [{ name: "West", rings: [[[0, 1]]] }, { name: "East", rings: [[[2, -1]]] }],
  };

  it("is unpacked to closed rings, coasts and borders", () => {
    const land = unpack(file);

    const rings = land.countries.map(({ polygons }) => polygons[0]![0]);
    assert.deepEqual(rings, [
      [[10, 0], [10, 10], [0, 10], [0, 0], [10, 0]],
      [[10, 0], [20, 0], [20, 10], [10, 10], [10, 0]],
    ]);
    assert.deepEqual(land.borders, [[[10, 0], [10, 10]]]);
    assert.equal(land.coasts.length, 2);
  });

  it("is cut to a box", () => {
    const ring = cutRing([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], [5, -5, 20, 5]);
    const lines = cutLine([[0, 0], [10, 0], [10, 10], [4, 10]], [5, -5, 20, 5]);

    assert.deepEqual(new Set(ring.map(String)), new Set(["5,0", "10,0", "10,5", "5,5"]));
    assert.deepEqual(lines, [[[5, 0], [10, 0], [10, 5]]]);
  });

  it("is drawn on either side of the edge of the world", () => {
    const east = within(unpack(file), [170, -10, 385, 20], false);

    // The squares lie at 0 to 20 degrees: 360 to 380 as seen from there.
    const corners = east.countries.map(({ polygons }) => polygons[0]![0]![0]);
    assert.deepEqual(corners, [[370, 0], [370, 0]]);
  });

  it("is asked for as far as a plane shows", () => {
    const [, south, , north] = domain("EPSG:3995");

    assert.ok(south > -20 && south < 40);
    assert.equal(north, 90);
    const [left, , right] = domain("EPSG:32601"); // 177 W: over the edge of the world
    assert.ok(left < -180 && right > -177 && right - left < 120);
  });
});
