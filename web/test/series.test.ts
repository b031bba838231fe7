import assert from "node:assert/strict";
import { test } from "node:test";

import { joined, type ProfileAnswer, profileCsv } from "../src/core/series";
import { framesOf } from "../src/core/timelapse";

const ANSWER: ProfileAnswer = {
  resolution: 10,
  bands: [{ name: "ndvi", unit: "1" }],
  rows: [
    {
      date: "2024-05-03T00:00:00Z",
      values: { ndvi: 0.5 },
      valid: 1,
      count: 40.5,
      items: ["a", "b"],
    },
    { date: "2024-05-08T00:00:00Z", values: { ndvi: 0.1 }, valid: 0.3, count: 12 },
    { date: "2024-05-13T00:00:00Z", values: { ndvi: null }, valid: 0, count: 0 },
  ],
  smoothed: { dates: ["2024-05-03", "2024-05-04"], values: { ndvi: [0.48, 0.47] } },
};

test("dots and curve share one axis of dates", () => {
  const both = joined(ANSWER, "ndvi", 0.8);

  assert.deepEqual(
    both.dates.map((date) => date.slice(0, 10)),
    ["2024-05-03", "2024-05-04", "2024-05-08", "2024-05-13"],
  );
  assert.deepEqual(
    both.x,
    both.dates.map((date) => Date.parse(date) / 1000),
  );
  assert.deepEqual(both.seen, [0.5, null, 0.1, null]);
  assert.deepEqual(both.curve, [0.48, 0.47, null, null]);
  assert.deepEqual(both.clear, [true, false, false, false]);
});

test("of two images of one instant the one that saw more is the dot", () => {
  const twice = {
    ...ANSWER,
    rows: [ANSWER.rows[1]!, { ...ANSWER.rows[0]!, date: ANSWER.rows[1]!.date }],
  };

  const both = joined({ ...twice, smoothed: null }, "ndvi", 0.8);

  assert.deepEqual(both.seen, [0.5]);
});

test("names of periods stand in their order, each at its own place", () => {
  const row = (date: string, ndvi: number) => ({ date, values: { ndvi }, valid: 1, count: 1 });
  for (const names of [["2020-mam", "2020-jja", "2020-djf"], ["2020-11", "2020-12", "2020-13"]]) {
    const answer = { ...ANSWER, rows: names.map((name, at) => row(name, at / 10)), smoothed: null };

    const both = joined(answer, "ndvi", 0.5);

    assert.equal(both.time, false);
    assert.deepEqual(both.x, [0, 1, 2]);
    assert.deepEqual(both.dates, names);
    assert.deepEqual(both.seen, [0, 0.1, 0.2]);
    const lines = profileCsv(answer, 0.5).trimEnd().split("\r\n").slice(1);
    assert.deepEqual(lines.map((line) => line.split(",")[0]), names);
  }
});

test("months with a curve through days begin on their first days", () => {
  const row = (date: string, ndvi: number) => ({ date, values: { ndvi }, valid: 1, count: 1 });
  const rows = [row("2021-01", 10), row("2021-02", 20)];
  const smoothed = { dates: ["2021-01-01", "2021-01-16"], values: { ndvi: [10, 15] } };

  const both = joined({ ...ANSWER, rows, smoothed }, "ndvi", 0.5);

  assert.equal(both.time, true);
  assert.deepEqual(both.x, [0, 15, 31].map((days) => Date.UTC(2021, 0, 1 + days) / 1000));
  assert.deepEqual(both.seen, [10, null, 20]);
  assert.deepEqual(both.curve, [10, 15, null]);
});

test("the CSV has every date with what was seen and at which resolution", () => {
  const [header, ...rows] = profileCsv(ANSWER, 0.8).trimEnd().split("\r\n");

  assert.equal(header, "date,ndvi,ndvi_smoothed,valid_share,pixels,cloud_free,resolution_m,items");
  assert.deepEqual(rows, [
    "2024-05-03T00:00:00Z,0.5,0.48,1,40.5,true,10,a b",
    "2024-05-04,,0.47,,,,10,",
    "2024-05-08T00:00:00Z,0.1,,0.3,12,false,10,",
    "2024-05-13T00:00:00Z,,,0,0,false,10,",
  ]);
});

test("without a curve the CSV has no column for one", () => {
  const [header] = profileCsv({ ...ANSWER, smoothed: null }, 0.8).split("\r\n");

  assert.equal(header, "date,ndvi,valid_share,pixels,cloud_free,resolution_m,items");
});

test("a film has the dates from one to another, in order, whichever is named first", () => {
  const dates = ["a", "b", "c", "d", "e"];

  assert.deepEqual(framesOf(dates, "b", "d", 1), ["b", "c", "d"]);
  assert.deepEqual(framesOf(dates, "e", "a", 2), ["a", "c", "e"]);
  assert.deepEqual(framesOf(dates, "c", "c", 3), ["c"]);
});
