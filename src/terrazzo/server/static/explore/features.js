// The pages of collections of geometries: which there are, and what one of them holds.
import { all, ask, at, onward } from "./api.js";
import { boxText } from "./bounds.js";
import { count, el, facts, link, listed, object, period, section, shown, table, text } from "./dom.js";
import { TileMap } from "./tilemap.js";

const { collection: id, item: chosen } = document.documentElement.dataset;
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];
const OTHERS = "#999999", FEW = 20, PAGE = 50, MOST = 32;

export async function featureCollections() {
  const found = await all(at("features", "collections"), "collections");
  const cards = found.map((one) => el("li", { class: "card plain" }, el("div", {},
    el("h2", {}, link(at("features", "collections", one.id).href, text(one.title) || one.id)),
    el("p", { class: "soft" }, el("code", {}, one.id), " · ", period(listed(object(one.extent).temporal?.interval)[0])))));
  return {
    title: "Geometries",
    content: [el("h1", {}, "Geometries"),
      el("p", { class: "soft" }, "Collections of parcels, samples, regions: feature by feature, and as tiles for maps. QGIS and GDAL open this address (OGC API Features)."),
      cards.length ? el("ul", { class: "cards" }, cards)
        : el("p", {}, "There are none yet, or none for everybody. Make one with ", el("code", {}, "terrazzo ingest parcels.gpkg --collection ID --datetime 2024"), ".")],
  };
}

export async function featureMap() {
  const here = at("features", "collections", id);
  const [told, schema] = await Promise.all([ask(here), ask(at("features", "collections", id, "schema"))]);
  const title = text(told.title) || id;
  const names = Object.keys(object(schema.properties)).filter((name) => name !== "geometry");
  const about = el("div", { class: "chosen", "aria-live": "polite" }, el("p", { class: "soft" }, "Click a feature to see its attributes."));
  const colours = new Palette();
  let current = chosen;
  const map = new TileMap(`Map of ${title}.`, {
    address: (zoom, row, column) => {
      const tile = at("features", "collections", id, "tiles", "WebMercatorQuad", String(zoom), String(row), String(column));
      // Of wide tables a tile has the first attributes only, unless others are asked for.
      if (colours.name && names.length > MOST) tile.search = new URLSearchParams({ properties: colours.name });
      return tile;
    },
    colour: (one) => colours.of(one.properties),
    onpick: (one) => (one ? showOne(nameOf(one)) : null),
    onmove: () => colours.legend(legend, map),
  });
  map.isChosen = (one) => nameOf(one) === current;
  const legend = el("ul", { class: "legend" });
  const select = el("select", { onchange: () => {
    colours.by(select.value);
    if (names.length > MOST) map.tiles.clear();
    map.redraw();
    // So that the address can be sent to somebody.
    history.replaceState(null, "", select.value ? `#colour=${encodeURIComponent(select.value)}` : location.pathname + location.search);
  } }, el("option", { value: "" }, "one colour"), names.map((name) => el("option", { value: name }, name)));
  const asked = new URLSearchParams(location.hash.slice(1)).get("colour");
  if (names.includes(asked)) { select.value = asked; colours.by(asked); }

  async function showOne(name, go = false) {
    current = name;
    map.redraw();
    try {
      const one = await ask(at("features", "collections", id, "items", name));
      about.replaceChildren(el("h2", {}, link(at("features", "collections", id, "items", name).href, name)),
        facts(Object.entries(object(one.properties)).map(([key, value]) => [key, shown(value)])));
      if (go && one.geometry) map.fit(boxOf(one.geometry));
    } catch (error) {
      about.replaceChildren(el("p", { class: "wrong" }, error.message));
    }
  }

  const box = listed(object(told.extent).spatial?.bbox)[0];
  if (box) { map.whole = box; map.fit(box); }
  if (chosen) showOne(chosen, true);
  return {
    title,
    content: [
      el("h1", {}, title),
      el("div", { class: "split search" },
        el("div", {}, facts([["Id", el("code", {}, id)], ["Time", period(listed(object(told.extent).temporal?.interval)[0])],
          ["Place", box && boxText(box)], ["Files", link(at("collections", id).href, "the collection as STAC has it")]]),
          el("label", {}, "Colour by", select), legend, about),
        el("div", { class: "beside" }, map.host)),
      search(map, names, showOne),
      section("In other programs", el("dl", {},
        program("GDAL", `ogr2ogr fields.gpkg "OAPIF:${at("features").href}" ${id}`),
        program("QGIS", `WFS / OGC API – Features: ${at("features").href}`),
        program("Vector tiles", `${at("features", "collections", id, "tiles", "WebMercatorQuad").href}/{z}/{y}/{x}`))),
    ],
  };
}

const program = (name, words) => el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, words)));
const nameOf = (one) => `${one.properties._item}.${one.id}`;

// Features that a filter finds, as a table, drawn on the map.
function search(map, names, showOne) {
  const given = new URLSearchParams(location.search);
  const filter = el("input", { name: "filter", value: given.get("filter") ?? "", spellcheck: "false", placeholder: names[0] ? `${names[0]} IS NOT NULL` : "" });
  const onMap = el("input", { type: "checkbox", name: "here" });
  const status = el("p", { class: "soft", role: "status" });
  const rows = el("div", {});
  const more = el("button", { type: "button", hidden: "" }, "More");
  let next = null, found = [];

  async function load(address) {
    status.textContent = "Looking.";
    try {
      const answer = await ask(address);
      found.push(...answer.features);
      next = onward(address, answer);
      status.textContent = `${count(found.length)} feature${found.length === 1 ? "" : "s"}${next ? ", and more" : ""}`;
      status.classList.remove("wrong");
    } catch (error) {
      status.textContent = error.message;
      status.classList.add("wrong");
      next = null;
    }
    more.hidden = !next;
    const heads = names.slice(0, 8);
    rows.replaceChildren(table("Features", ["Feature", ...heads], found.map((one) => el("tr", {},
      el("td", {}, el("a", { href: at("features", "collections", id, "items", one.id).href, onclick: (event) => { event.preventDefault(); showOne(one.id, true); map.host.scrollIntoView({ block: "nearest" }); } }, one.id)),
      heads.map((name) => el("td", { class: typeof one.properties[name] === "number" ? "number" : "value" }, one.properties[name] === undefined || one.properties[name] === null ? "" : shown(one.properties[name])))))));
    map.found = filter.value || onMap.checked ? found.map((one) => one.geometry).filter(Boolean) : [];
    map.redraw();
  }

  function begin() {
    const address = at("features", "collections", id, "items");
    // What the address of the page asks for, such as crop=rye, is asked of the server.
    const asked = new URLSearchParams([...given].filter(([name]) => !["limit", "token", "filter"].includes(name)));
    asked.set("limit", filter.value || onMap.checked ? PAGE : FEW);
    if (filter.value) asked.set("filter", filter.value);
    if (onMap.checked) asked.set("bbox", map.bounds().map((one, i) => (i % 2 ? one : Math.max(-180, Math.min(180, one)))).join(","));
    address.search = asked;
    found = [];
    load(address);
  }
  more.addEventListener("click", () => load(next));
  const form = el("form", { class: "panel", onsubmit: (event) => { event.preventDefault(); begin(); } },
    el("label", {}, "Filter, CQL2", filter), el("label", { class: "check" }, onMap, " only what lies on the map"),
    el("div", { class: "row" }, el("button", { class: "main" }, "Find")));
  begin();
  return section("Features", form, status, rows, more);
}

// Colours of the values of an attribute: of numbers a ramp, of others one each.
class Palette {
  constructor() { this.by(""); }

  by(name) {
    this.name = name;
    this.known = new Map();
    this.low = Infinity; this.high = -Infinity;
  }

  of(properties) {
    if (!this.name) return getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
    const value = properties[this.name];
    if (value === undefined) return OTHERS;
    if (typeof value === "number") {
      this.low = Math.min(this.low, value); this.high = Math.max(this.high, value);
      return this.ramp(value);
    }
    const key = String(value);
    if (!this.known.has(key) && this.known.size < COLOURS.length) this.known.set(key, COLOURS[this.known.size]);
    return this.known.get(key) ?? OTHERS;
  }

  ramp(value) {
    const part = this.high > this.low ? (value - this.low) / (this.high - this.low) : 0.5;
    return `hsl(${Math.round(260 - 210 * part)} 75% ${Math.round(35 + 20 * part)}%)`;
  }

  legend(host, map) {
    const entry = (colour, words) => {
      const spot = el("span", { class: "spot" });
      spot.style.background = colour;
      return el("li", {}, spot, words);
    };
    const numbers = this.high > this.low;
    const key = `${this.name} ${this.low} ${this.high} ${this.known.size}`;
    if (key === this.told) return;
    this.told = key;
    host.replaceChildren(...[...this.known].map(([value, colour]) => entry(colour, value)),
      ...(numbers ? [this.low, (this.low + this.high) / 2, this.high].map((value) => entry(this.ramp(value), shown(value))) : []));
    if (numbers) map.redraw();  // the ends of the ramp were not known before all was drawn
  }
}

function boxOf(geometry) {
  let box = [Infinity, Infinity, -Infinity, -Infinity];
  const walk = (part) => {
    if (typeof part[0] === "number") box = [Math.min(box[0], part[0]), Math.min(box[1], part[1]), Math.max(box[2], part[0]), Math.max(box[3], part[1])];
    else part.forEach(walk);
  };
  for (const one of geometry.geometries ?? [geometry]) walk(one.coordinates);
  const more = Math.max(box[2] - box[0], box[3] - box[1], 0.001) / 2;
  return [box[0] - more, box[1] - more, box[2] + more, box[3] + more];
}
