import assert from "node:assert/strict";
import { test } from "node:test";

import { allDates, dateFor, instantOf } from "../src/core/dates";

test("of each layer the last date is shown that is not after the slider's", () => {
  const dates = ["2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"];

  assert.equal(dateFor(dates, "2020-01-20T00:00:00Z"), dates[0]);
  assert.equal(dateFor(dates, "2021-01-01T00:00:00Z"), dates[1]);
  assert.equal(dateFor(dates, "2019-01-01T00:00:00Z"), dates[0]);
  assert.equal(dateFor([], "2019-01-01T00:00:00Z"), null);
});

test("a day or a time is an instant, a month that may be a week is none", () => {
  assert.equal(instantOf("2020-02-29"), Date.UTC(2020, 1, 29));
  assert.equal(instantOf("2020-02-29 12:00:00+02:00"), Date.UTC(2020, 1, 29, 10));
  const names = ["2020", "2020-05", "2020-23", "2020-153", "2020-06-01-23", "2020-djf", "spring"];
  assert.deepEqual(names.filter((name) => instantOf(name) !== null), []);
});

test("all names of periods are on the slider, in order", () => {
  const seasons = ["2020-mam", "2020-jja", "2020-son", "2020-djf", "2021-mam"];
  const weeks = ["2020-04", "2020-05", "2020-20", "2020-21"];

  assert.deepEqual(allDates([seasons]), seasons);
  assert.deepEqual(allDates([seasons.slice(2), seasons.slice(0, 4)]), seasons);
  assert.deepEqual(allDates([weeks]), weeks);
  assert.deepEqual(allDates([["sown", "grown", "cut"]]), ["sown", "grown", "cut"]);
});

test("instants of all layers come once, before names", () => {
  const days = ["2020-01-01T00:00:00Z", "2020-03-01T00:00:00Z"];

  const all = allDates([["2020-02-01T00:00:00Z"], ["2020-djf"], days, [days[1]!]]);

  assert.deepEqual(all, [days[0], "2020-02-01T00:00:00Z", days[1], "2020-djf"]);
});

test("a layer without the period that is chosen stays as it is", () => {
  assert.equal(dateFor(["2020-mam", "2020-jja"], "2020-jja"), "2020-jja");
  assert.equal(dateFor(["2020-mam", "2020-jja"], "2020-son"), null);
  assert.equal(dateFor(["2020-mam", "2020-jja"], "2020-12-01T00:00:00Z"), null);
  assert.equal(dateFor(["2020-12-01T00:00:00Z"], "2020-jja"), null);
});
