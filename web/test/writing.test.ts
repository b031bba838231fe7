import assert from "node:assert/strict";
import { test } from "node:test";

import { csv } from "../src/core/csv";
import { fileName } from "../src/core/download";
import {
  area,
  computedAt,
  day,
  distance,
  fileSize,
  number,
  percent,
  place,
  unitOf,
} from "../src/core/format";

test("numbers are read without exponents where they can be", () => {
  assert.equal(number(0.612345), "0.6123");
  assert.equal(number(-0.25), "−0.25");
  assert.equal(number(1234.56), "1235");
  assert.equal(number(241001, 7), "241\u202f001");
  assert.equal(number(0), "0");
  assert.equal(number(0.00001234), "1.234e−5");
  assert.equal(number(2e10), "2e10");
});

test("sizes of files are told in kilobytes or megabytes", () => {
  assert.equal(fileSize(33_100), "33 kB");
  assert.equal(fileSize(12_400_000), "12.4 MB");
});

test("what is no number is told in words", () => {
  assert.equal(number(null), "no data");
  assert.equal(number(Number.NaN), "NaN");
  assert.equal(number(-Infinity), "−∞");
});

test("lengths and areas have the unit that suits them", () => {
  assert.equal(distance(12.34), "12.3 m");
  assert.equal(distance(999), "999 m");
  assert.equal(distance(33_100), "33.1 km");
  assert.equal(area(950), "950 m²");
  assert.equal(area(25_000), "2.5 ha");
  assert.equal(area(230_100_000), "230.1 km²");
  assert.equal(computedAt(10), "computed at 10 m");
  assert.equal(computedAt(10.01, 10), "computed at 10 m");
  assert.equal(computedAt(6.73, 10), "computed at 6.73 m from 10 m data");
  assert.equal(computedAt(38.2, 10), "computed at 38.2 m from 10 m data");
  assert.equal(computedAt(38.2, null), "computed at 38.2 m");
  assert.equal(computedAt(null), "resolution not told");
});

test("dates are days, with the time where there is one", () => {
  assert.equal(day("2024-05-03T00:00:00Z"), "2024-05-03");
  assert.equal(day("2024-05-03T09:41:31Z"), "2024-05-03 09:41");
  assert.equal(day("2024-05-03"), "2024-05-03");
  assert.equal(day(null), "no date");
});

test("shares, places and units read as people write them", () => {
  assert.equal(percent(0.919), "91.9 %");
  assert.equal(percent(0), "0 %");
  assert.equal(place(-7.5, -45.25), "45.25000° S, 7.50000° W");
  assert.equal(unitOf("1"), "");
  assert.equal(unitOf("K"), "K");
});

test("cells with commas, quotes and line ends come back as they were", () => {
  const text = csv(
    ["a", "b"],
    [
      ['say "x"', "1,5"],
      ["two\nlines", null],
      [0.25, true],
      [Number.NaN, undefined],
    ],
  );

  assert.equal(text, 'a,b\r\n"say ""x""","1,5"\r\n"two\nlines",\r\n0.25,true\r\n,\r\n');
});

test("a name is no formula in a spreadsheet, a negative number stays a number", () => {
  assert.equal(csv(["n"], [["=1+1"], ["@x"], [-2]]), "n\r\n'=1+1\r\n'@x\r\n-2\r\n");
});

test("file names are plain words", () => {
  assert.equal(
    fileName(["profile", "Köszeg Süd / 3", undefined], "csv"),
    "profile-koszeg-sud-3.csv",
  );
  assert.equal(fileName(["…"], "png"), "terrazzo.png");
});
