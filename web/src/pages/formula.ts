/**
 * A small language for pixels: `(nir - red) / (nir + red)` becomes the nodes of an openEO graph.
 * Bands by their names or common names, numbers, + - * / ^, comparisons, and/or/not, functions.
 */

import type { JsonObject } from "../core/backend";

/** A band of a collection, as a formula may call it. */
export interface Band {
  name: string;
  /** As STAC calls its kind (red, nir08 ...), empty where the collection does not tell. */
  common: string;
}

/** A node of a process graph. */
export type GraphNode = { process_id: string; arguments: JsonObject; result?: boolean };
export type ProcessGraph = { [id: string]: GraphNode };

/** What a formula came to: the callback that computes it, and the bands that it reads. */
export interface Compiled {
  reducer: ProcessGraph;
  bands: string[];
}

/** What is wrong with a formula, in words, and where: letters from its beginning. */
export class FormulaWrong extends Error {
  readonly position: number;

  constructor(message: string, position: number) {
    super(message);
    this.name = "FormulaWrong";
    this.position = position;
  }
}

/** The openEO process of a function, and how many values it takes. */
interface Known { process: string; least: number; most: number; told: string }

const FUNCTIONS: Record<string, Known> = {
  sqrt: { process: "sqrt", least: 1, most: 1, told: "sqrt(a)" },
  abs: { process: "absolute", least: 1, most: 1, told: "abs(a)" },
  exp: { process: "exp", least: 1, most: 1, told: "exp(a)" },
  ln: { process: "ln", least: 1, most: 1, told: "ln(a)" },
  log10: { process: "log", least: 1, most: 1, told: "log10(a)" },
  round: { process: "round", least: 1, most: 1, told: "round(a)" },
  floor: { process: "floor", least: 1, most: 1, told: "floor(a)" },
  sin: { process: "sin", least: 1, most: 1, told: "sin(a)" },
  cos: { process: "cos", least: 1, most: 1, told: "cos(a)" },
  arctan: { process: "arctan", least: 1, most: 1, told: "arctan(a)" },
  min: { process: "min", least: 2, most: 20, told: "min(a, b, …)" },
  max: { process: "max", least: 2, most: 20, told: "max(a, b, …)" },
  mean: { process: "mean", least: 2, most: 20, told: "mean(a, b, …)" },
  clip: { process: "clip", least: 3, most: 3, told: "clip(a, lowest, highest)" },
  if: { process: "if", least: 3, most: 3, told: "if(condition, a, b)" },
};

/** The functions with their arguments, to be told to people. */
export const functionsTold: readonly string[] = Object.values(FUNCTIONS).map((one) => one.told);

const LONGEST = 2000;
const DEEPEST = 60;

type Kind = "number" | "name" | "operator" | "end";
interface Token { kind: Kind; text: string; at: number }

const TOKEN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([\p{L}_][\p{L}\d_]*)|"([^"]+)"|`([^`]+)`|(<=|>=|==|!=|<>|\*\*|&&|\|\||[-+*/^()<>,=!]))/uy;

function tokens(formula: string): Token[] {
  if (formula.length > LONGEST) throw new FormulaWrong(`The formula has ${formula.length} letters; at most ${LONGEST} are read.`, LONGEST);
  const found: Token[] = [];
  let at = 0;
  while (at < formula.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(formula);
    if (!match) {
      const rest = formula.slice(at).trimStart();
      if (!rest) break;
      const where = formula.length - rest.length;
      throw new FormulaWrong(`“${[...rest][0]}” means nothing in a formula. Write bands, numbers, + - * / ^, brackets and functions.`, where);
    }
    const [whole, number, name, quoted, ticked, operator] = match;
    const text = number ?? name ?? quoted ?? ticked ?? operator ?? "";
    const start = at + whole.length - text.length - (quoted || ticked ? 1 : 0);
    const kind: Kind = number ? "number" : operator ? "operator" : "name";
    // A quoted name is a band, never a function or a word such as `and`.
    found.push({ kind, text: quoted || ticked ? `"${text}` : text, at: start });
    at += whole.length;
  }
  found.push({ kind: "end", text: "", at: formula.length });
  return found;
}

type Value = number | { from_node: string };

const COMPARED: Record<string, string> = { "<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "=": "eq", "==": "eq", "!=": "neq", "<>": "neq" };

class Parser {
  private place = 0;
  private depth = 0;
  private readonly tokens: Token[];
  private readonly known: Map<string, string>;
  private readonly available: readonly Band[];
  private readonly made = new Map<string, string>();
  readonly nodes: ProcessGraph = {};
  readonly bands: string[] = [];

  constructor(formula: string, bands: readonly Band[]) {
    this.tokens = tokens(formula);
    this.available = bands;
    this.known = named(bands);
  }

  whole(): Value {
    if (this.next.kind === "end") throw new FormulaWrong("The formula is empty. Write one such as (nir - red) / (nir + red).", 0);
    const value = this.either();
    const rest = this.next;
    if (rest.text === ")") throw new FormulaWrong("There is a “)” without its “(”.", rest.at);
    if (rest.kind !== "end") throw new FormulaWrong(`Between what comes before and ${told(rest)} an operator is missing, such as * or +.`, rest.at);
    return value;
  }

  private get next(): Token { return this.tokens[this.place]!; }

  private take(...texts: string[]): Token | null {
    const { kind, text } = this.next;
    if (kind === "number" || kind === "end" || !texts.includes(kind === "name" ? text.toLowerCase() : text)) return null;
    return this.tokens[this.place++]!;
  }

  private either(): Value {
    let value = this.both();
    while (this.take("or", "||")) value = this.node("or", { x: value, y: this.both() });
    return value;
  }

  private both(): Value {
    let value = this.negated();
    while (this.take("and", "&&")) value = this.node("and", { x: value, y: this.negated() });
    return value;
  }

  private negated(): Value {
    let times = 0;
    while (this.take("not", "!")) times++;
    const value = this.compared();
    return times % 2 ? this.node("not", { x: value }) : value;
  }

  private compared(): Value {
    const value = this.sum();
    const operator = this.take(...Object.keys(COMPARED));
    if (!operator) return value;
    const made = this.node(COMPARED[operator.text]!, { x: value, y: this.sum() });
    const more = this.take(...Object.keys(COMPARED));
    if (more) throw new FormulaWrong("Two comparisons in a row: join them with and, as in a > 0 and a < 1.", more.at);
    return made;
  }

  private sum(): Value {
    let value = this.product();
    for (let sign = this.take("+", "-"); sign; sign = this.take("+", "-")) {
      value = this.node(sign.text === "+" ? "add" : "subtract", { x: value, y: this.product() });
    }
    return value;
  }

  private product(): Value {
    let value = this.signed();
    for (let sign = this.take("*", "/"); sign; sign = this.take("*", "/")) {
      value = this.node(sign.text === "*" ? "multiply" : "divide", { x: value, y: this.signed() });
    }
    return value;
  }

  private signed(): Value {
    if (++this.depth > DEEPEST) throw new FormulaWrong(`More than ${DEEPEST} brackets or signs are within each other.`, this.next.at);
    try {
      if (this.take("-")) {
        const value = this.signed();
        return typeof value === "number" ? -value : this.node("multiply", { x: -1, y: value });
      }
      if (this.take("+")) return this.signed();
      return this.power();
    } finally {
      this.depth--;
    }
  }

  private power(): Value {
    const base = this.atom();
    return this.take("^", "**") ? this.node("power", { base, p: this.signed() }) : base;
  }

  private atom(): Value {
    const token = this.next;
    this.place++;
    if (token.kind === "number") {
      const value = Number(token.text);
      if (Number.isFinite(value)) return value;
      throw new FormulaWrong(`${token.text} is too large a number.`, token.at);
    }
    if (token.kind === "name" && this.next.text === "(" && !token.text.startsWith('"')) return this.called(token);
    if (token.kind === "name") return this.band(token);
    if (token.text === "(") {
      const value = this.either();
      this.close(token);
      return value;
    }
    throw new FormulaWrong(token.kind === "end" ? "The formula ends too early: a band or a number is missing." : `Before ${told(token)} a band or a number is missing.`, token.at);
  }

  private close(open: Token): void {
    if (this.take(")")) return;
    const { kind, at } = this.next;
    if (kind === "end") throw new FormulaWrong("A “(” is never closed.", open.at);
    throw new FormulaWrong(`Before ${told(this.next)} an operator or a “)” is missing.`, at);
  }

  private called(name: Token): Value {
    const known = Object.hasOwn(FUNCTIONS, name.text.toLowerCase()) ? FUNCTIONS[name.text.toLowerCase()] : undefined;
    if (!known) throw new FormulaWrong(`There is no function ${name.text}. There are ${functionsTold.join(", ")}.`, name.at);
    const open = this.next;
    this.place++;
    const values: Value[] = [];
    if (this.next.text !== ")") {
      do values.push(this.either()); while (this.take(","));
    }
    this.close(open);
    if (values.length < known.least || values.length > known.most) {
      throw new FormulaWrong(`${name.text} takes ${known.told}, and got ${values.length} ${values.length === 1 ? "value" : "values"}.`, name.at);
    }
    return this.node(known.process, argumentsOf(known.process, values));
  }

  private band(token: Token): Value {
    const name = token.text.replace(/^"/, "");
    const label = this.known.get(name) ?? this.known.get(name.toLowerCase());
    if (label === undefined) {
      const choices = this.available.map((one) => (one.common && one.common !== one.name ? `${one.name} (${one.common})` : one.name));
      throw new FormulaWrong(choices.length ? `There is no band ${name}. There are ${choices.join(", ")}.` : `There is no band ${name}: this has no bands.`, token.at);
    }
    if (!this.bands.includes(label)) this.bands.push(label);
    return this.node("array_element", { data: { from_parameter: "data" }, label });
  }

  /** A node; the same twice is one. */
  private node(process_id: string, given: JsonObject): Value {
    const key = JSON.stringify([process_id, given]);
    let id = this.made.get(key);
    if (!id) {
      id = `${process_id}${this.made.size + 1}`;
      this.made.set(key, id);
      this.nodes[id] = { process_id, arguments: given };
    }
    return { from_node: id };
  }
}

function argumentsOf(process: string, values: Value[]): JsonObject {
  const [x = 0, y = 0, z = 0] = values;
  if (process === "if") return { value: x, accept: y, reject: z };
  if (process === "clip") return { x, min: y, max: z };
  if (process === "log") return { x, base: 10 };
  if (process === "exp") return { p: x };
  // Else what has no data would be left out, and be the value of the others.
  if (["min", "max", "mean"].includes(process)) return { data: values, ignore_nodata: false };
  return { x };
}

/** What bands may be called: their names first, then common names, and both in small letters. */
function named(bands: readonly Band[]): Map<string, string> {
  const known = new Map<string, string>();
  const put = (name: string, label: string) => { if (name && !known.has(name)) known.set(name, label); };
  for (const band of bands) put(band.name, band.name);
  for (const band of bands) put(band.common, band.name);
  for (const band of bands) put(band.name.toLowerCase(), band.name);
  for (const band of bands) put(band.common.toLowerCase(), band.name);
  return known;
}

const told = (token: Token): string => (token.kind === "end" ? "the end" : `“${token.text.replace(/^"/, "")}”`);

/**
 * Reads a formula over bands.
 *
 * @throws FormulaWrong what is wrong with it, where, and what would be right.
 */
export function compile(formula: string, bands: readonly Band[]): Compiled {
  const parser = new Parser(formula, bands);
  const value = parser.whole();
  if (typeof value === "number" || !parser.bands.length) {
    throw new FormulaWrong("The formula names no band, so it is the same everywhere. Use at least one.", 0);
  }
  const reducer = parser.nodes;
  reducer[value.from_node]!.result = true;
  return { reducer, bands: parser.bands };
}
