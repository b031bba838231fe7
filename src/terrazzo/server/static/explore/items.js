// The page of items, of one collection or of all: a form, what it finds as a table and on a map.
// The parameters of the page's address are those of the API.
import { ask, at, onward } from "./api.js";
import { asked, flat } from "./bounds.js";
import { dateStrip } from "./chart.js";
import { count, day, el, link, listed, moment, object, shown, table, text } from "./dom.js";
import { json } from "./collection.js";
import { FootprintMap } from "./map.js";

const { collection } = document.documentElement.dataset;
const CLOUD = "eo:cloud_cover";
const COLUMNS = [CLOUD, "platform", "view:off_nadir", "sat:orbit_state"];
const ORDERS = [["", "newest first"], ["datetime", "oldest first"], ["id", "by id"], [CLOUD, "least cloud first"]];

const here = collection ? at("collections", collection, "items") : at("search");

export async function searchPage() {
  const given = new URLSearchParams(location.search);
  const address = new URL(here);
  address.search = given;
  const title = collection ? `Items of ${collection}` : "Search";
  const [answer, [filters, names]] = await Promise.all([ask(address).catch((error) => error), known()]);
  if (answer instanceof Error && answer.status !== 400) throw answer;
  const found = answer instanceof Error ? null : answer;
  const parts = results(found, title);
  const sides = form(given, filters, names, parts.map);
  return {
    title,
    content: [
      el("h1", {}, title),
      el("div", { class: "split search" }, sides, el("div", { class: "beside" }, parts.map.host)),
      found ? null : el("p", { class: "wrong", role: "alert" }, answer.message),
      ...(found ? parts.content(address) : []),
      el("ul", {}, json("This page of items", address)),
    ].filter(Boolean),
  };
}

// What can be filtered by, and the collections to choose from.
async function known() {
  const filters = ask(collection ? at("collections", collection, "queryables") : at("queryables")).then(
    (schema) => Object.keys(object(schema.properties)), () => []);
  const names = collection ? [] : ask(at("collections")).then((answer) => answer.collections, () => []);
  return Promise.all([filters, names]);
}

function form(given, filters, names, map) {
  const box = boxOf(given.get("bbox"));
  const [from, to] = (given.get("datetime") ?? "").split("/");
  const cloud = cloudOf(given.get("query"));
  const input = (name, label, attributes) => el("label", {}, label, el("input", { name, ...attributes }));
  const sides = ["west", "south", "east", "north"].map((name, i) => input(name, name, {
    type: "number", step: "any", min: i % 2 ? -90 : -180, max: i % 2 ? 90 : 180, value: box?.[i] ?? "",
  }));
  const chosen = new Set((given.get("collections") ?? "").split(",").filter(Boolean));
  const orders = ORDERS.filter(([order]) => order !== CLOUD || filters.includes(CLOUD));
  const sort = given.get("sortby") ?? "";
  if (!orders.some(([order]) => order === sort)) orders.push([sort, sort]);
  const entries = el("form", { class: "panel", "aria-label": "Search" },
    names.length ? el("label", {}, "Collections", el("select", { name: "collections", multiple: "", size: Math.min(names.length, 4) },
      names.map((one) => el("option", { value: one.id, selected: chosen.has(one.id) ? "" : null }, text(one.title) || one.id)))) : null,
    el("div", { class: "fields" },
      input("from", "From", { type: "date", value: plainDay(from) }), input("to", "To, included", { type: "date", value: plainDay(to ?? from) })),
    el("fieldset", {}, el("legend", {}, "Box in degrees, or draw one on the map"), el("div", { class: "fields sides" }, sides)),
    filters.includes(CLOUD) ? el("div", { class: "fields" }, input("cloud", "Cloud at most, %", { type: "number", min: 0, max: 100, value: cloud ?? "" })) : null,
    el("label", {}, "Condition in CQL2", el("input", {
      name: "filter", value: given.get("filter") ?? "", spellcheck: "false", autocomplete: "off", list: "properties",
      placeholder: filters.includes(CLOUD) ? `${CLOUD} < 20 AND …` : "gsd < 20 AND …",
    }), el("datalist", { id: "properties" }, filters.map((name) => el("option", { value: quoted(name) })))),
    el("div", { class: "fields" },
      el("label", {}, "Order", el("select", { name: "sortby" }, orders.map(([order, name]) => el("option", { value: order, selected: order === sort ? "" : null }, name)))),
      el("label", {}, "On a page", el("select", { name: "limit" }, sizes(given.get("limit")).map(([n, on]) => el("option", { value: n, selected: on ? "" : null }, n))))),
    el("div", { class: "row" }, el("button", { type: "submit", class: "main" }, "Search"), el("a", { class: "button", href: here.href }, "Begin anew")));
  const edges = ["west", "south", "east", "north"].map((name) => entries.elements[name]);
  const redraw = () => map.ask(edges.every((one) => one.value !== "") ? flat(edges.map((one) => one.valueAsNumber)) : null);
  for (const edge of edges) edge.addEventListener("change", redraw);
  map.onbox = (drawn) => { edges.forEach((edge, i) => { edge.value = +drawn[i].toFixed(5); }); };
  redraw();
  entries.addEventListener("submit", (event) => {
    event.preventDefault();
    if (edges.some((edge) => edge.value) && !edges.every((edge) => edge.value)) {
      const empty = edges.find((edge) => !edge.value);
      empty.setCustomValidity("A box has four sides.");
      empty.reportValidity();
      empty.addEventListener("input", () => edges.forEach((edge) => edge.setCustomValidity("")), { once: true });
      return;
    }
    location.assign(addressOf(entries, given));
  });
  return entries;
}

// The address of what a form asks for; what it has no entry for stays as it was, but for the page.
function addressOf(form_, given) {
  const fields = new FormData(form_);
  const wanted = new URLSearchParams(given);
  const put = (name, value) => (value ? wanted.set(name, value) : wanted.delete(name));
  wanted.delete("token");
  const [from, to] = [fields.get("from"), fields.get("to")];
  put("datetime", from || to ? `${from ? `${from}T00:00:00Z` : ".."}/${to ? `${to}T23:59:59.999999Z` : ".."}` : "");
  put("bbox", fields.get("west") && ["west", "south", "east", "north"].map((side) => fields.get(side)).join(","));
  if (form_.elements.collections) put("collections", fields.getAll("collections").join(","));
  for (const name of ["filter", "sortby", "limit"]) put(name, fields.get(name)?.trim());
  if (form_.elements.cloud) put("query", fields.get("cloud") && JSON.stringify({ [CLOUD]: { lte: Number(fields.get("cloud")) } }));
  const address = new URL(here);
  address.search = wanted;
  return address;
}

const quoted = (name) => (/^[a-z_][\w:.]*$/i.test(name) ? name : `"${name}"`);
const plainDay = (time) => (/^\d{4}-\d\d-\d\d/.test(time ?? "") ? day(time) : "");
const sizes = (limit) => [...new Set([10, 50, 200, 1000, Number(limit) || 10])].sort((a, b) => a - b).map((n) => [n, n === (Number(limit) || 10)]);

function boxOf(words) {
  const sides = (words ?? "").split(",").map(Number);
  const box = words && flat(sides);
  return box ? asked(box) : null;
}

function cloudOf(words) {
  try {
    return JSON.parse(words ?? "{}")[CLOUD]?.lte;
  } catch {
    return undefined;
  }
}

// The map, and the rest of what a search found; hovering and choosing go together in all of them.
function results(found, title) {
  const items = listed(found?.features);
  const rows = [];
  const mark = (key, name) => {
    map.mark(key, name);
    strip.mark(key, name);
    rows.forEach((row, i) => row.classList.toggle(name, i === key));
  };
  const pick = (key) => {
    mark(key, "chosen");
    if (key === null) return;
    rows[key].scrollIntoView({ block: "nearest" });
    rows[key].querySelector("a").focus({ preventScroll: true });
  };
  const hover = (key) => mark(key, "hover");
  const map = new FootprintMap(`Map of the footprints of ${items.length} items.`, { onpick: pick, onhover: hover, onbox: () => {} });
  const strip = dateStrip(items.map((item) => timeOf(item)), { onhover: hover, onpick: pick });
  map.show(items);
  const columns = COLUMNS.filter((name) => items.some((item) => object(item.properties)[name] !== undefined));
  const many = new Set(items.map((item) => item.collection)).size > 1 || !collection;
  rows.push(...items.map((item, key) => el("tr", {
    onpointerenter: () => hover(key), onpointerleave: () => hover(null), onfocusin: () => hover(key),
    onclick: (event) => { if (event.target.tagName !== "A") { mark(key, "chosen"); map.goTo(key); } },
  }, el("td", {}, link(at("collections", item.collection, "items", item.id).href, item.id)),
    many ? el("td", {}, link(at("collections", item.collection).href, item.collection)) : null,
    el("td", { class: "number" }, moment(timeOf(item))),
    columns.map((name) => el("td", { class: "number" }, shown(object(item.properties)[name] ?? ""))))));
  const heads = ["Item", ...(many ? ["Collection"] : []), "Time", ...columns.map(head)];
  const content = (address) => {
    const next = onward(address, found);
    const first = new URL(address);
    first.searchParams.delete("token");
    const later = address.searchParams.has("token");
    const total = found.numberMatched;
    const told = items.length ? `${count(items.length)} item${items.length === 1 ? "" : "s"}${next || later ? " on this page" : ""}` : "No items are like that. Ask for less.";
    return [el("p", { role: "status", class: "soft" }, told + (Number.isFinite(total) ? ` of ${count(total)}` : "")),
      strip.host, items.length ? table(title, heads, rows) : null,
      el("nav", { class: "row", "aria-label": "Pages of items" }, later ? el("a", { class: "button", href: first.href }, "First page") : null,
        next ? el("a", { class: "button", rel: "next", href: next.href }, "Next page") : null)];
  };
  return { map, content };
}

const head = (name) => ({ [CLOUD]: "Cloud, %", platform: "Platform", "view:off_nadir": "Off nadir, °", "sat:orbit_state": "Orbit" })[name];
const timeOf = (item) => text(object(item.properties).datetime ?? object(item.properties).start_datetime);
