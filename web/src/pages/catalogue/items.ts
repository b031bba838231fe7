/**
 * The page of items, of one collection or of all: a form, what it finds as a table and on a map.
 * The parameters of the page's address are those of the API.
 */
import { h } from "../../core/dom";
import { flat, asked as asAsked, type Box } from "../bounds";
import { count, day, link, listed, moment, object, plural, shown, table, text } from "../content";
import { FootprintMap } from "../footprints";
import { dateStrip } from "../months";
import { ask, at, onward, Refused, type Document } from "../../http/server";
import { json } from "./documents";
import { here as page, type Content } from "./page";

const CLOUD = "eo:cloud_cover";
const HEADS: Record<string, string> = { [CLOUD]: "Cloud, %", platform: "Platform", "view:off_nadir": "Off nadir, °", "sat:orbit_state": "Orbit" };
const ORDERS: [string, string][] = [["", "newest first"], ["datetime", "oldest first"], ["id", "by id"], [CLOUD, "least cloud first"]];
const SIDES = ["west", "south", "east", "north"];

const { collection } = page;
const here = collection ? at("collections", collection, "items") : at("search");

export async function searchPage(): Promise<Content> {
  const given = new URLSearchParams(location.search);
  const address = new URL(here);
  address.search = String(given);
  const title = collection ? `Items of ${collection}` : "Search";
  const [answer, [filters, names]] = await Promise.all([ask(address).catch((error: unknown) => error as Error), known()]);
  if (answer instanceof Error && !(answer instanceof Refused && answer.status === 400)) throw answer;
  const found = answer instanceof Error ? null : answer;
  const results = new Results(found, title);
  const sides = form(given, filters, names, results);
  return {
    title,
    content: [
      h("h1", {}, title),
      h("div", { class: "split search" }, sides, h("div", { class: "beside" }, results.map.host)),
      ...(answer instanceof Error ? [h("p", { class: "wrong", role: "alert" }, answer.message)] : []),
      ...(found ? results.content(found, address) : []),
      h("ul", {}, json("This page of items", address)),
    ],
  };
}

/** What can be filtered by, and the collections to choose from. */
async function known(): Promise<[string[], Document[]]> {
  const filters = ask(collection ? at("collections", collection, "queryables") : at("queryables")).then(
    (schema) => Object.keys(object(schema.properties)), () => []);
  const names = collection ? Promise.resolve([]) : ask(at("collections")).then((answer) => listed(answer.collections).map(object), () => []);
  return Promise.all([filters, names]);
}

function form(given: URLSearchParams, filters: string[], names: Document[], results: Results): HTMLFormElement {
  const box = boxOf(given.get("bbox"));
  const [from = "", to] = (given.get("datetime") ?? "").split("/");
  const input = (name: string, label: string, attributes: Record<string, unknown>) => h("label", {}, label, h("input", { name, ...attributes }));
  const edges = SIDES.map((name, i) => h("input", {
    name, type: "number", step: "any", min: i % 2 ? -90 : -180, max: i % 2 ? 90 : 180, value: box?.[i] ?? "",
  }));
  const chosen = new Set((given.get("collections") ?? "").split(",").filter(Boolean));
  const sort = given.get("sortby") ?? "";
  const orders = ORDERS.filter(([order]) => order !== CLOUD || filters.includes(CLOUD));
  if (!orders.some(([order]) => order === sort)) orders.push([sort, sort]);
  const entries = h("form", { class: "panel", "aria-label": "Search" },
    names.length ? h("label", {}, "Collections", h("select", { name: "collections", multiple: true, size: Math.min(names.length, 4) },
      names.map((one) => h("option", { value: text(one.id), selected: chosen.has(text(one.id)) }, text(one.title) || text(one.id))))) : null,
    h("div", { class: "fields" },
      input("from", "From", { type: "date", value: plainDay(from) }), input("to", "To, included", { type: "date", value: plainDay(to ?? from) })),
    h("fieldset", {}, h("legend", {}, "Box in degrees, or draw one on the map"),
      h("div", { class: "fields sides" }, edges.map((edge) => h("label", {}, edge.name, edge)))),
    filters.includes(CLOUD) ? h("div", { class: "fields" }, input("cloud", "Cloud at most, %", { type: "number", min: 0, max: 100, value: cloudOf(given.get("query")) ?? "" })) : null,
    h("label", {}, "Condition in CQL2", h("input", {
      name: "filter", value: given.get("filter") ?? "", autocomplete: "off", list: "properties",
      placeholder: filters.includes(CLOUD) ? `${CLOUD} < 20 AND …` : "gsd < 20 AND …",
    }), h("datalist", { id: "properties" }, filters.map((name) => h("option", { value: quoted(name) })))),
    h("div", { class: "fields" },
      h("label", {}, "Order", h("select", { name: "sortby" }, orders.map(([order, name]) => h("option", { value: order, selected: order === sort }, name)))),
      h("label", {}, "On a page", h("select", { name: "limit" }, sizes(given.get("limit")).map(([n, on]) => h("option", { value: String(n), selected: on }, n))))),
    h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Search"), h("a", { class: "button", href: here.href }, "Begin anew")));
  const redraw = () => results.map.ask(edges.every((one) => one.value !== "") ? flat(edges.map((one) => one.valueAsNumber)) : null);
  for (const edge of edges) edge.addEventListener("change", redraw);
  results.onbox = (drawn) => edges.forEach((edge, i) => { edge.value = String(+drawn[i]!.toFixed(5)); });
  redraw();
  entries.addEventListener("submit", (event) => {
    event.preventDefault();
    const empty = edges.find((edge) => !edge.value);
    if (empty && edges.some((edge) => edge.value)) {
      empty.setCustomValidity("A box has four sides.");
      empty.reportValidity();
      empty.addEventListener("input", () => edges.forEach((edge) => edge.setCustomValidity("")), { once: true });
      return;
    }
    location.assign(addressOf(entries, given));
  });
  return entries;
}

/** The address of what a form asks for; what it has no entry for stays as it was, but for the page. */
function addressOf(entries: HTMLFormElement, given: URLSearchParams): URL {
  const fields = new FormData(entries);
  const field = (name: string) => String(fields.get(name) ?? "").trim();
  const wanted = new URLSearchParams(given);
  const put = (name: string, value: string) => (value ? wanted.set(name, value) : wanted.delete(name));
  wanted.delete("token");
  const [from, to] = [field("from"), field("to")];
  put("datetime", from || to ? `${from ? `${from}T00:00:00Z` : ".."}/${to ? `${to}T23:59:59.999999Z` : ".."}` : "");
  put("bbox", field("west") && SIDES.map(field).join(","));
  if (entries.elements.namedItem("collections")) put("collections", fields.getAll("collections").join(","));
  for (const name of ["filter", "sortby", "limit"]) put(name, field(name));
  if (entries.elements.namedItem("cloud")) put("query", field("cloud") && JSON.stringify({ [CLOUD]: { lte: Number(field("cloud")) } }));
  const address = new URL(here);
  address.search = String(wanted);
  return address;
}

const quoted = (name: string): string => (/^[a-z_][\w:.]*$/i.test(name) ? name : `"${name}"`);
const plainDay = (time: string): string => (/^\d{4}-\d\d-\d\d/.test(time) ? day(time) : "");
const sizes = (limit: string | null): [number, boolean][] =>
  [...new Set([10, 50, 200, 1000, Number(limit) || 10])].sort((a, b) => a - b).map((n) => [n, n === (Number(limit) || 10)]);

function boxOf(words: string | null): Box | null {
  const box = words ? flat(words.split(",").map(Number)) : null;
  return box ? asAsked(box) : null;
}

function cloudOf(words: string | null): unknown {
  try {
    return object(object(JSON.parse(words ?? "{}"))[CLOUD]).lte;
  } catch {
    return undefined;
  }
}

/** The map, and the rest of what a search found; hovering and choosing go together in all of them. */
class Results {
  readonly map: FootprintMap;
  onbox: (box: Box) => void = () => {};
  readonly #title: string;
  readonly #items: Document[];
  readonly #rows: HTMLTableRowElement[] = [];
  readonly #strip: ReturnType<typeof dateStrip>;

  constructor(found: Document | null, title: string) {
    this.#title = title;
    this.#items = listed(found?.features).map(object);
    const pick = (key: number | null) => this.#pick(key), hover = (key: number | null) => this.#mark(key, "hover");
    this.map = new FootprintMap(`Map of the footprints of ${plural(this.#items.length, "item")}.`, { onpick: pick, onhover: hover, onbox: (box) => this.onbox(box) });
    this.#strip = dateStrip(this.#items.map(timeOf), { hover, pick });
    this.map.show(this.#items);
  }

  content(found: Document, address: URL): HTMLElement[] {
    const items = this.#items;
    const columns = Object.keys(HEADS).filter((name) => items.some((item) => object(item.properties)[name] !== undefined));
    const many = new Set(items.map((item) => item.collection)).size > 1 || !collection;
    this.#rows.push(...items.map((item, key) => this.#row(item, key, columns, many)));
    const heads = ["Item", ...(many ? ["Collection"] : []), "Time", ...columns.map((name) => HEADS[name]!)];
    const next = onward(address, found);
    const first = new URL(address);
    first.searchParams.delete("token");
    const later = address.searchParams.has("token");
    const total = found.numberMatched;
    const told = items.length ? `${plural(items.length, "item")}${next || later ? " on this page" : ""}` : "No items are like that. Ask for less.";
    return [h("p", { role: "status", class: "soft" }, told + (typeof total === "number" ? ` of ${count(total)}` : "")),
      ...(this.#strip.host ? [this.#strip.host] : []), ...(items.length ? [table(this.#title, heads, this.#rows)] : []),
      h("nav", { class: "row", "aria-label": "Pages of items" }, later ? h("a", { class: "button", href: first.href }, "First page") : null,
        next ? h("a", { class: "button", rel: "next", href: next.href }, "Next page") : null)];
  }

  #row(item: Document, key: number, columns: string[], many: boolean): HTMLTableRowElement {
    const [id, parent] = [text(item.id), text(item.collection)];
    const click = (event: Event) => {
      if ((event.target as HTMLElement).tagName === "A") return;
      this.#mark(key, "chosen");
      this.map.goTo(key);
    };
    return h("tr", { onpointerenter: () => this.#mark(key, "hover"), onpointerleave: () => this.#mark(null, "hover"), onfocusin: () => this.#mark(key, "hover"), onclick: click },
      h("td", {}, link(at("collections", parent, "items", id).href, id)),
      many ? h("td", {}, link(at("collections", parent).href, parent)) : null,
      h("td", { class: "number" }, moment(timeOf(item))),
      columns.map((name) => h("td", { class: "number" }, shown(object(item.properties)[name] ?? ""))));
  }

  #mark(key: number | null, name: string): void {
    this.map.mark(key, name);
    this.#strip.mark(key, name);
    this.#rows.forEach((row, i) => row.classList.toggle(name, i === key));
  }

  #pick(key: number | null): void {
    this.#mark(key, "chosen");
    if (key === null) return;
    this.#rows[key]?.scrollIntoView({ block: "nearest" });
    this.#rows[key]?.querySelector("a")?.focus({ preventScroll: true });
  }
}

const timeOf = (item: Document): string => text(object(item.properties).datetime ?? object(item.properties).start_datetime);
