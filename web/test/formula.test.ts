import assert from "node:assert/strict";
import { test } from "node:test";

import { compile, FormulaWrong, type Band, type GraphNode } from "../src/pages/formula";
import { combinationsOf, indicesOf } from "../src/pages/indices";

const BANDS: Band[] = [
  { name: "B2", common: "blue" }, { name: "B3", common: "green" },
  { name: "B4", common: "red" }, { name: "B8", common: "nir" }, { name: "20m mask", common: "" },
];

/** Computes a compiled formula with plain numbers: what the processes mean, in other words. */
function computed(formula: string, pixel: Record<string, number>): number | boolean {
  const { reducer } = compile(formula, BANDS);
  const value = (one: unknown): number => {
    if (typeof one !== "object" || one === null) return one as number;
    return result(reducer[(one as { from_node: string }).from_node]!) as number;
  };
  const result = ({ process_id, arguments: given }: GraphNode): number | boolean => {
    const [x, y] = [value(given.x), value(given.y)];
    switch (process_id) {
      case "array_element": return pixel[given.label as string]!;
      case "add": return x + y;
      case "subtract": return x - y;
      case "multiply": return x * y;
      case "divide": return x / y;
      case "power": return value(given.base) ** value(given.p);
      case "gt": return x > y;
      case "lt": return x < y;
      case "and": return Boolean(x) && Boolean(y);
      case "not": return !x;
      case "if": return value(given.value) ? value(given.accept) : value(given.reject);
      case "clip": return Math.min(Math.max(x, given.min as number), given.max as number);
      case "max": return Math.max(...(given.data as unknown[]).map(value));
      case "log": return Math.log(x) / Math.log(given.base as number);
      default: throw new Error(process_id);
    }
  };
  return result(Object.values(reducer).find((node) => node.result)!);
}

const PIXEL = { B2: 0.1, B3: 0.2, B4: 0.3, B8: 0.7, "20m mask": 4 };

test("an index by common names is computed of the bands that they mean", () => {
  assert.equal(computed("(nir - red) / (nir + red)", PIXEL), (0.7 - 0.3) / (0.7 + 0.3));
});

test("what binds stronger comes first, powers from the right, minus before a number", () => {
  assert.equal(computed("B8 - B4 * 2", PIXEL), 0.7 - 0.3 * 2);
  assert.equal(computed("-B4 ^ 2", PIXEL), -(0.3 ** 2));
  assert.equal(computed("B4 ** 2 ^ 3 * 1", PIXEL), 0.3 ** 8);
  assert.equal(computed("B8 - B4 - B3", PIXEL), 0.7 - 0.3 - 0.2);
  assert.equal(computed("2e-1 * B8 + .5", PIXEL), 0.2 * 0.7 + 0.5);
});

test("functions, conditions and quoted names", () => {
  assert.equal(computed("max(B2, B3, red)", PIXEL), 0.3);
  assert.equal(computed("clip(nir, 0, 0.5)", PIXEL), 0.5);
  assert.equal(computed("log10(B2)", PIXEL), Math.log(0.1) / Math.log(10));
  assert.equal(computed('if("20m mask" > 3 and not B4 > B8, 1, 0)', PIXEL), 1);
  assert.equal(computed("IF(nir < red, B2, B3)", PIXEL), 0.2);
});

test("a band is read once, however often it is named", () => {
  const { reducer, bands } = compile("(nir - red) / (nir + red)", BANDS);

  assert.deepEqual(bands, ["B8", "B4"]);
  assert.equal(Object.values(reducer).filter((node) => node.process_id === "array_element").length, 2);
  assert.equal(Object.values(reducer).filter((node) => node.result).length, 1);
});

const WRONG: [string, RegExp, number][] = [
  ["", /empty/, 0],
  ["nir -", /ends too early/, 5],
  ["nir red", /“red” an operator is missing/, 4],
  ["(nir - red", /never closed/, 0],
  ["nir)", /without its “\(”/, 3],
  ["nir - swir", /no band swir\. There are B2 \(blue\), B3/, 6],
  ["eval(nir)", /no function eval\. There are sqrt/, 0],
  ["constructor(nir)", /no function constructor/, 0],
  ["clip(nir, 0)", /clip takes clip\(a, lowest, highest\), and got 2 values/, 0],
  ["nir; red", /“;” means nothing/, 3],
  ["1 + 2", /names no band/, 0],
  ["0 < nir < 1", /join them with and/, 8],
  ["1e999 * nir", /too large/, 0],
  [`${"(".repeat(100)}nir${")".repeat(100)}`, /More than 60/, 60],
  ["nir + ".repeat(500), /letters; at most/, 2000],
];

for (const [formula, message, position] of WRONG) {
  test(`${formula.slice(0, 30)} is refused in words that say where`, () => {
    assert.throws(() => compile(formula, BANDS), (error: unknown) => {
      assert.ok(error instanceof FormulaWrong);
      assert.match(error.message, message);
      assert.equal(error.position, position);
      return true;
    });
  });
}

test("only those indices and combinations are offered whose bands are there", () => {
  assert.deepEqual(indicesOf(BANDS).map((one) => one.id), ["ndvi", "ndwi", "gndvi"]);
  assert.deepEqual(combinationsOf(BANDS).map((one) => one.bands), [["B4", "B3", "B2"], ["B8", "B4", "B3"]]);
});

test("a sensor's own near infrared stands in", () => {
  const bands = [{ name: "B05", common: "nir08" }, { name: "B04", common: "red" }];

  const [ndvi] = indicesOf(bands);

  assert.deepEqual(compile(ndvi!.formula, bands).bands, ["B05", "B04"]);
});
