/** Process graphs out of what people choose. */
import type { JsonObject } from "../core/backend";
import { compile, type Band, type ProcessGraph } from "./formula";

/** Which pixels of a collection: open ends are null. */
export interface Extent {
  /** West, south, east, north in degrees. */
  box: readonly [number, number, number, number] | null;
  /** RFC 3339, half-open. */
  time: readonly [string | null, string | null] | null;
}

/** All bands of a collection, or an index or formula of them. */
export function collectionGraph(id: string, extent: Extent, bands: readonly Band[], formula?: string, cloud?: number): ProcessGraph {
  const compiled = formula === undefined ? null : compile(formula, bands);
  const box = extent.box && { west: extent.box[0], south: extent.box[1], east: extent.box[2], north: extent.box[3] };
  const graph: ProcessGraph = {
    load: {
      process_id: "load_collection",
      arguments: {
        id,
        spatial_extent: box,
        temporal_extent: extent.time && [...extent.time],
        ...(compiled ? { bands: compiled.bands } : {}),
        ...(cloud === undefined ? {} : { properties: { "eo:cloud_cover": atMost(cloud) } }),
      },
    },
  };
  if (!compiled) {
    graph.load!.result = true;
    return graph;
  }
  graph.formula = {
    process_id: "reduce_dimension",
    arguments: { data: { from_node: "load" }, dimension: "bands", reducer: { process_graph: compiled.reducer } },
    result: true,
  };
  return graph;
}

function atMost(most: number): { process_graph: ProcessGraph } {
  return { process_graph: { most: { process_id: "lte", arguments: { x: { from_parameter: "value" }, y: most }, result: true } } };
}

/** A saved process with its arguments. */
export function callGraph(process: string, given: JsonObject, namespace?: string): ProcessGraph {
  return { call: { process_id: process, arguments: given, result: true, ...(namespace ? { namespace } : {}) } };
}

/** The results of a job, opened by the signed link of its document. */
export function resultGraph(href: string): ProcessGraph {
  return { load: { process_id: "load_stac", arguments: { url: href }, result: true } };
}

/** The day after a day, both as YYYY-MM-DD. */
export function dayAfter(day: string): string {
  const next = new Date(`${day.slice(0, 10)}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

/** The shortest half-open interval that openEO has around a moment. */
export function momentOf(time: string): [string, string] {
  const at = new Date(time);
  return [at.toISOString(), new Date(at.getTime() + 1).toISOString()];
}
