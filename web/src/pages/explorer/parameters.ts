/** The parameters of a saved process: what a form asks for each, and what its answer is in a graph. */
import { asked, type Box } from "../bounds";
import { listed, object, text } from "../content";
import type { Document, Json } from "../../http/server";

/** How a parameter is asked for. */
export type Field = "number" | "integer" | "text" | "choice" | "yes-no" | "box" | "dates" | "date" | "geometry" | "bands" | "collection" | "json";

export interface Parameter {
  name: string;
  about: string;
  field: Field;
  optional: boolean;
  /** The default, as the form shows it; empty without one. */
  preset: string;
  choices: string[];
  least: number | null;
  most: number | null;
}

/** An answer that cannot be what the parameter wants. */
export class AnswerWrong extends Error {
  constructor(readonly parameter: string, message: string) {
    super(message);
  }
}

const SUBTYPES: Record<string, Field> = {
  "bounding-box": "box", "temporal-interval": "dates", date: "date", "date-time": "date", geojson: "geometry",
  "band-name": "text", "collection-id": "collection", year: "integer",
};

/** The parameters of a process document. */
export function parametersOf(process: Document): Parameter[] {
  return listed(process.parameters).map(object).map((told) => {
    const schemas = Array.isArray(told.schema) ? told.schema.map(object) : [object(told.schema)];
    const schema = schemas.find((one) => one.type !== "null") ?? {};
    const preset = told.default;
    const choices = listed(schema.enum).map(String);
    return {
      name: text(told.name), about: text(told.description), optional: told.optional === true || preset !== undefined,
      field: choices.length ? "choice" : fieldOf(schema), choices,
      preset: preset === undefined || preset === null ? "" : typeof preset === "string" ? preset : JSON.stringify(preset),
      least: number(schema.minimum), most: number(schema.maximum),
    };
  });
}

function fieldOf(schema: Document): Field {
  const known = SUBTYPES[text(schema.subtype)];
  if (known) return known;
  const type = Array.isArray(schema.type) ? text(schema.type.find((one) => one !== "null")) : text(schema.type);
  if (type === "array" && object(schema.items).subtype === "band-name") return "bands";
  if (type === "number" || type === "integer") return type;
  if (type === "boolean") return "yes-no";
  return type === "string" ? "text" : "json";
}

const number = (value: unknown): number | null => (typeof value === "number" ? value : null);

/**
 * What an answer is in a graph; undefined leaves the parameter to its default.
 *
 * @throws AnswerWrong it is not what the parameter wants.
 */
export function valueOf(parameter: Parameter, answer: string): Json | undefined {
  const { name, field, optional } = parameter;
  const words = answer.trim();
  if (!words) {
    if (optional) return undefined;
    throw new AnswerWrong(name, `${name} is needed.`);
  }
  switch (field) {
    case "number":
    case "integer":
      return numeric(parameter, words);
    case "yes-no":
      return words === "true";
    case "choice":
      return parameter.choices.every((one) => Number.isFinite(Number(one))) ? Number(words) : words;
    case "bands":
      return words.split(",").map((one) => one.trim()).filter(Boolean);
    case "dates":
      return interval(name, words);
    case "box":
      return box(name, words);
    case "geometry":
    case "json":
      return json(name, words);
    default:
      return words;
  }
}

function numeric({ name, field, least, most }: Parameter, words: string): number {
  const value = Number(words);
  if (!Number.isFinite(value)) throw new AnswerWrong(name, `${name} is a number, and “${words}” is none.`);
  if (field === "integer" && !Number.isInteger(value)) throw new AnswerWrong(name, `${name} is a whole number, and ${words} is none.`);
  if (least !== null && value < least) throw new AnswerWrong(name, `${name} is at least ${least}, not ${words}.`);
  if (most !== null && value > most) throw new AnswerWrong(name, `${name} is at most ${most}, not ${words}.`);
  return value;
}

function interval(name: string, words: string): Json {
  const [from, to] = words.startsWith("[") ? (json(name, words) as Json[]).map((one) => (one === null ? "" : String(one))) : words.split("/").map((one) => one.trim());
  if (!from && !to) throw new AnswerWrong(name, `${name} needs a first or a last day.`);
  if (from && to && from >= to) throw new AnswerWrong(name, `${name} ends on ${to}, before it begins or at once: the end is not part of it.`);
  return [from || null, to || null];
}

function box(name: string, words: string): Json {
  const sides = words.split(",").map(Number);
  if (words.startsWith("{")) return json(name, words);
  if (sides.length !== 4 || !sides.every(Number.isFinite)) throw new AnswerWrong(name, `${name} is west, south, east, north in degrees, as 22.1,45.1,22.3,45.3.`);
  const [west, south, east, north] = asked(sides as Box);
  if (south! >= north!) throw new AnswerWrong(name, `${name} has its south (${south}) not below its north (${north}).`);
  return { west, south, east, north };
}

function json(name: string, words: string): Json {
  try {
    return JSON.parse(words) as Json;
  } catch {
    throw new AnswerWrong(name, `${name} is JSON, and this is none: ${words.slice(0, 60)}`);
  }
}
