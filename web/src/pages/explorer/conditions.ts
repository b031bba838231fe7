/** What somebody looks for, as the search takes it. */
import { onGlobe, type Box } from "../bounds";
import type { Queryable } from "./collections";

export const CLOUD = "eo:cloud_cover";
export const OPERATORS = ["=", "<>", "<", "<=", ">", ">=", "like"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Condition {
  property: string;
  operator: Operator;
  value: string;
}

export interface Wanted {
  collection: string;
  /** Days, both included; empty for open. */
  from: string;
  to: string;
  box: Box | null;
  /** Per cent at most; null for any. */
  cloud: number | null;
  conditions: readonly Condition[];
}

/** A condition has no value that the property could have. */
export class ConditionWrong extends Error {}

const NUMBERS = new Set(["number", "integer"]);

/** A property as CQL2 text names it. */
const named = (name: string): string => (/^[a-z_][\w:.]*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
const quoted = (words: string): string => `'${words.replaceAll("'", "''")}'`;

/**
 * One condition in CQL2 text.
 *
 * @throws ConditionWrong a number is wanted and there is none.
 */
export function clause({ property, operator, value }: Condition, known: readonly Queryable[]): string {
  const told = known.find((one) => one.name === property);
  const words = value.trim();
  if (!words) throw new ConditionWrong(`Say what ${property} shall be, or take the condition away.`);
  if (operator === "like") return `${named(property)} LIKE ${quoted(/[%_]/.test(words) ? words : `%${words}%`)}`;
  if (NUMBERS.has(told?.type ?? "")) {
    const number = Number(words);
    if (!Number.isFinite(number)) throw new ConditionWrong(`${property} is a number, and “${words}” is none.`);
    return `${named(property)} ${operator} ${number}`;
  }
  if (told?.type === "boolean") return `${named(property)} ${operator} ${/^(true|yes|1)$/i.test(words) ? "TRUE" : "FALSE"}`;
  return `${named(property)} ${operator} ${quoted(words)}`;
}

/** The query of `GET /search`. */
export function query(wanted: Wanted, known: readonly Queryable[], limit: number): Record<string, string | number> {
  const clauses = wanted.conditions.map((one) => clause(one, known));
  if (wanted.cloud !== null) clauses.unshift(`${named(CLOUD)} <= ${wanted.cloud}`);
  const { from, to } = wanted;
  return {
    collections: wanted.collection,
    limit,
    ...(from || to ? { datetime: `${from ? `${from}T00:00:00Z` : ".."}/${to ? `${to}T23:59:59.999999Z` : ".."}` } : {}),
    ...(wanted.box ? { bbox: onGlobe(wanted.box).map((one) => +one.toFixed(7)).join(",") } : {}),
    ...(clauses.length ? { filter: clauses.join(" AND "), "filter-lang": "cql2-text" } : {}),
  };
}
