/** The collections that can be looked at, as the explorer needs them. */
import { bandsOf } from "../bands";
import { flat, type Box } from "../bounds";
import { listed, object, text } from "../content";
import type { Band } from "../formula";
import { all, ask, at, type Document } from "../../http/server";

export interface Collection {
  id: string;
  title: string;
  bands: Band[];
  box: Box | null;
  /** First and last moment; empty where it is not known. */
  interval: [string, string];
}

/** A property that items can be filtered by. */
export interface Queryable {
  name: string;
  title: string;
  type: string;
  choices: string[];
}

/** All collections that there are for who asks: those of scenes, and those of geometries. */
export async function collections(): Promise<{ scenes: Collection[]; geometries: Collection[] }> {
  // The list does not tell their dimensions; that of features has those of geometries alone.
  const [found, features] = await Promise.all([all(at("collections"), "collections"), all(at("features", "collections"), "collections")]);
  const ids = new Set(features.map((one) => text(one.id)));
  const [geometries, scenes] = [true, false].map((kind) => found.filter((one) => ids.has(text(one.id)) === kind).map(read));
  return { scenes: scenes!, geometries: geometries! };
}

function read(told: Document): Collection {
  const extent = object(told.extent);
  const [first, last] = listed(listed(object(extent.temporal).interval)[0]).map(text);
  return {
    id: text(told.id), title: text(told.title) || text(told.id), bands: bandsOf(told),
    box: flat(listed(object(extent.spatial).bbox)[0]), interval: [first ?? "", last ?? ""],
  };
}

/** What the list of collections leaves out, such as all bands. */
export async function collection(id: string): Promise<Collection> {
  return read(await ask(at("collections", id)));
}

const HIDDEN = new Set(["geometry", "collection", "datetime", "bbox"]);

/** What the items of a collection can be filtered by. */
export async function queryables(id: string): Promise<Queryable[]> {
  const schema = await ask(at("collections", id, "queryables"));
  return Object.entries(object(schema.properties)).filter(([name]) => !HIDDEN.has(name)).map(([name, one]) => {
    const told = object(one);
    return { name, title: text(told.title) || name, type: typeOf(told), choices: listed(told.enum).map(String) };
  });
}

function typeOf(schema: Document): string {
  const { type } = schema;
  return Array.isArray(type) ? String(type.find((one) => one !== "null") ?? "") : text(type);
}
