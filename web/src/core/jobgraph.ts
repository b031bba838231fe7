/** Graphs of layers, cut to a place and a date and saved: what a job is started with. */

import type { Bounds, Json, JsonObject } from "./backend";
import { instantOf } from "./dates";

export interface ExportArea {
  /** In `crs`. */
  bounds: Bounds;
  crs: string;
  /** What says how a CRS is made that has no EPSG code. */
  wkt?: string;
}

/** One date of a layer. */
export interface ExportDate {
  label: string;
  /** Name of the dimension that has it; where that is not told, only instants can be cut to. */
  dimension: string | null;
}

/** No job can be made of a layer: its graph is not at hand, or cannot be cut to what is wanted. */
export class GraphMissing extends Error {}

/**
 * Return the graph of a layer with its result cut to an area and a date and saved as a file.
 *
 * @param source what the layer was opened with.
 * @param date the one date that is kept; null keeps all.
 * @throws GraphMissing there is no graph in `source`, none of its nodes is the result, or nothing
 *   tells which dimension a `date` that is no instant belongs to.
 */
export function exportGraph(
  source: JsonObject,
  area: ExportArea,
  date: ExportDate | null,
  format: string,
): JsonObject {
  const graph = graphOf(source);
  const [last] = Object.entries(graph).find(([, node]) => node["result"] === true) ?? [];
  if (last === undefined) throw new GraphMissing("The graph of this layer has no result node.");
  const { result: _, ...node } = graph[last]!;
  const nodes: Record<string, JsonObject> = { ...graph, [last]: node };
  let from = { from_node: last };
  if (node["process_id"] === "save_result") {
    from = (node["arguments"] as JsonObject)["data"] as typeof from;
    delete nodes[last];
  }
  const add = (name: string, process: string, more: JsonObject, result = false) => {
    const key = free(nodes, name);
    nodes[key] = {
      process_id: process,
      arguments: { data: from, ...more },
      ...(result && { result }),
    };
    from = { from_node: key };
  };
  const [west, south, east, north] = area.bounds;
  add("cut", "filter_bbox", { extent: { west, south, east, north, crs: crsOf(area) } });
  if (date !== null) add("date", ...cutTo(date));
  add("save", "save_result", { format }, true);
  return nodes;
}

function graphOf(source: JsonObject): Record<string, JsonObject> {
  const process = source["process"] as JsonObject | undefined;
  const graph = source["process_graph"] ?? process?.["process_graph"];
  if (graph === null || typeof graph !== "object" || Array.isArray(graph)) {
    throw new GraphMissing(
      "This layer was opened without a graph of its own, so no job can be made of it.",
    );
  }
  return graph as Record<string, JsonObject>;
}

function free(nodes: Record<string, unknown>, name: string): string {
  let key = name;
  for (let n = 2; key in nodes; n += 1) key = `${name}${n}`;
  return key;
}

function crsOf({ crs, wkt }: ExportArea): Json {
  const number = /^EPSG:(\d+)$/.exec(crs)?.[1];
  return number ? Number(number) : (wkt ?? crs);
}

/** The process that keeps one date, and what it is given. */
function cutTo({ label, dimension }: ExportDate): [string, JsonObject] {
  const begin = instantOf(label);
  if (begin !== null) {
    // Intervals are half-open: a second holds one label.
    return ["filter_temporal", { extent: [written(begin), written(begin + 1000)] }];
  }
  if (dimension === null) {
    throw new GraphMissing(`No job can be cut to "${label}", which is no date. Choose all dates.`);
  }
  const same = {
    process_id: "eq", arguments: { x: { from_parameter: "value" }, y: label }, result: true,
  };
  return ["filter_labels", { dimension, condition: { process_graph: { same } } }];
}

function written(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(".000Z", "Z");
}
