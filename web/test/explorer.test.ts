import assert from "node:assert/strict";
import { test } from "node:test";

import { clause, ConditionWrong, query } from "../src/pages/explorer/conditions";
import type { Document } from "../src/http/server";
import { AnswerWrong, parametersOf, valueOf } from "../src/pages/explorer/parameters";

const KNOWN = [
  { name: "eo:cloud_cover", title: "", type: "number", choices: [] },
  { name: "platform", title: "", type: "string", choices: ["a"] },
  { name: "strange name", title: "", type: "string", choices: [] },
];

test("a search has all that was asked for, days included, boxes within the globe", () => {
  const wanted = {
    collection: "s2", from: "2020-01-01", to: "2020-01-31", box: [170, -95, 190, 10] as [number, number, number, number], cloud: 20,
    conditions: [{ property: "platform", operator: "=", value: "it's" } as const],
  };

  assert.deepEqual(query(wanted, KNOWN, 50), {
    collections: "s2", limit: 50, datetime: "2020-01-01T00:00:00Z/2020-01-31T23:59:59.999999Z",
    bbox: "170,-90,-170,10", filter: "eo:cloud_cover <= 20 AND platform = 'it''s'", "filter-lang": "cql2-text",
  });
});

test("nothing that was not asked for is in a search", () => {
  const wanted = { collection: "s2", from: "", to: "", box: null, cloud: null, conditions: [] };

  assert.deepEqual(query(wanted, KNOWN, 10), { collections: "s2", limit: 10 });
});

test("conditions name odd properties in quotes and look within texts", () => {
  assert.equal(clause({ property: "strange name", operator: "like", value: "50" }, KNOWN), "\"strange name\" LIKE '%50%'");
  assert.equal(clause({ property: "eo:cloud_cover", operator: ">", value: " 5 " }, KNOWN), "eo:cloud_cover > 5");
  assert.throws(() => clause({ property: "eo:cloud_cover", operator: ">", value: "much" }, KNOWN), ConditionWrong);
  assert.throws(() => clause({ property: "platform", operator: "=", value: " " }, KNOWN), /take the condition away/);
});

const PROCESS: Document = {
  parameters: [
    { name: "year", description: "Which year.", schema: { type: "integer", minimum: 2015, maximum: 2020 } },
    { name: "factor", schema: { type: ["number", "null"] }, default: 2.5, optional: true },
    { name: "place", schema: { type: "object", subtype: "bounding-box" } },
    { name: "when", schema: { type: "array", subtype: "temporal-interval" } },
    { name: "bands", schema: { type: "array", items: { type: "string", subtype: "band-name" } }, optional: true },
    { name: "method", schema: [{ type: "null" }, { type: "string", enum: ["near", "cubic"] }], default: "near" },
    { name: "parcel", schema: { type: "object", subtype: "geojson" } },
  ],
};

test("a form asks for each parameter in its own way", () => {
  const parameters = parametersOf(PROCESS);

  assert.deepEqual(parameters.map((one) => one.field), ["integer", "number", "box", "dates", "bands", "choice", "geometry"]);
  assert.deepEqual(parameters.map((one) => one.optional), [false, true, false, false, true, true, false]);
  assert.deepEqual(parameters.map((one) => one.preset), ["", "2.5", "", "", "", "near", ""]);
  assert.deepEqual([parameters[0]!.least, parameters[0]!.most, parameters[5]!.choices], [2015, 2020, ["near", "cubic"]]);
});

test("answers become what a graph takes", () => {
  const [year, factor, place, when, bands, method, parcel] = parametersOf(PROCESS) as [never, never, never, never, never, never, never];

  assert.equal(valueOf(year, "2018"), 2018);
  assert.equal(valueOf(factor, ""), undefined);
  assert.deepEqual(valueOf(place, "22.1,45.1,22.3,45.3"), { west: 22.1, south: 45.1, east: 22.3, north: 45.3 });
  assert.deepEqual(valueOf(when, "2018-01-01/"), ["2018-01-01", null]);
  assert.deepEqual(valueOf(bands, "B4, B8"), ["B4", "B8"]);
  assert.equal(valueOf(method, "cubic"), "cubic");
  assert.deepEqual(valueOf(parcel, '{"type":"Point","coordinates":[1,2]}'), { type: "Point", coordinates: [1, 2] });
});

for (const [at, answer, message] of [
  [0, "", /year is needed/], [0, "2018.5", /whole number/], [0, "1999", /at least 2015/], [0, "many", /“many” is none/],
  [2, "1,2,3", /west, south, east, north/], [2, "1,5,2,3", /not below/], [3, "2018-02-01/2018-01-01", /before it begins/], [6, "{", /JSON/],
] as [number, string, RegExp][]) {
  test(`“${answer}” is refused in words`, () => {
    assert.throws(() => valueOf(parametersOf(PROCESS)[at]!, answer), (error: unknown) => error instanceof AnswerWrong && message.test(error.message));
  });
}
