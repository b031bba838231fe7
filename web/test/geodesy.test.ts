import assert from "node:assert/strict";
import { test } from "node:test";

import { along, areaOf, between, type LonLat, lengthOf, perimeterOf } from "../src/core/geodesy";
import { barOf } from "../src/core/scale";

// Vincenty's example, as Geoscience Australia and PROJ's documentation of `geod` have it.
const FLINDERS: LonLat = [144 + 25 / 60 + 29.5244 / 3600, -(37 + 57 / 60 + 3.7203 / 3600)];
const BUNINYONG: LonLat = [143 + 55 / 60 + 35.3839 / 3600, -(37 + 39 / 60 + 10.1561 / 3600)];

function near(found: number, wanted: number, share = 1e-6): void {
  assert.ok(Math.abs(found - wanted) <= Math.abs(wanted) * share, `${found} is not ${wanted}`);
}

test("a well-known line is as long as surveyors say", () => {
  near(between(FLINDERS, BUNINYONG), 54972.271);
});

test("a quarter of a meridian is ten thousand kilometres and a bit", () => {
  near(
    lengthOf([
      [7, 0],
      [7, 45],
      [7, 90],
    ]),
    10_001_965.729,
  );
});

test("a half of the globe has half of the ellipsoid's area", () => {
  const equator: LonLat[] = [
    [0, 0],
    [90, 0],
    [180, 0],
    [-90, 0],
  ];

  near(areaOf([equator]), 510_065_621_724_088.44 / 2);
});

test("a hole is taken away, whichever way rings go and whether they are closed", () => {
  const outside: LonLat[] = [
    [0, 0],
    [2, 0],
    [2, 2],
    [0, 2],
    [0, 0],
  ];
  const hole: LonLat[] = [
    [0.5, 0.5],
    [1, 0.5],
    [1, 1],
    [0.5, 1],
  ];

  const whole = areaOf([outside, hole]);

  near(whole, areaOf([outside]) - areaOf([hole]), 1e-12);
  near(whole, areaOf([[...outside].reverse(), [...hole].reverse()]), 1e-9);
  assert.ok(whole > 0);
});

test("a shape over the antimeridian is small, not around the globe", () => {
  const across: LonLat[] = [
    [179.9, 10],
    [-179.9, 10],
    [-179.9, 10.2],
    [179.9, 10.2],
  ];
  const elsewhere: LonLat[] = [
    [9.9, 10],
    [10.1, 10],
    [10.1, 10.2],
    [9.9, 10.2],
  ];

  near(areaOf([across]), areaOf([elsewhere]), 1e-9);
  near(perimeterOf(across), perimeterOf(elsewhere), 1e-9);
});

test("places along a line lie on it, at their distance", () => {
  const line: LonLat[] = [
    [21, 45],
    [22, 45.5],
    [22.5, 45],
  ];
  const whole = lengthOf(line);

  for (const share of [0, 0.2, 0.5, 0.9]) {
    const place = along(line, whole * share);
    const first = between(line[0]!, line[1]!);
    const soFar =
      whole * share <= first ? between(line[0]!, place) : first + between(line[1]!, place);
    assert.ok(Math.abs(soFar - whole * share) < 1e-3);
  }
  assert.ok(between(along(line, whole * 2), line[2]!) < 1e-6);
});

test("a scale bar is round and no longer than there is room", () => {
  for (const metres of [0.013, 0.37, 1, 19.1, 152.9, 4891.97]) {
    const bar = barOf(metres, 120);
    const first = Number(bar.metres.toExponential().split("e")[0]);

    assert.ok(bar.pixels <= 120 && bar.pixels > 120 / 2.6);
    assert.ok([1, 2, 5].includes(first));
    near(bar.metres, bar.pixels * metres, 1e-12);
  }
});
