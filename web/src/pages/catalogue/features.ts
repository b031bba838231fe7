/** The pages of collections of geometries: which there are, and what one of them holds. */
import type { Geometry } from "geojson";

import { h } from "../../core/dom";
import { boxText, flat, outlines, type Box } from "../bounds";
import { facts, link, listed, object, period, plural, section, shown, table, text } from "../content";
import { all, ask, at, onward, withQuery, words, type Document } from "../../http/server";
import { FeatureMap } from "./feature-map";
import { here, type Content } from "./page";
import { Palette } from "./palette";

const FEW = 20, PAGE = 50, MOST = 32, COLUMNS = 8;
const id = here.collection;

export async function featureCollections(): Promise<Content> {
  const found = await all(at("features", "collections"), "collections");
  const cards = found.map((one) => h("li", { class: "card plain" }, h("div", {},
    h("h2", {}, link(at("features", "collections", text(one.id)).href, text(one.title) || text(one.id))),
    h("p", { class: "soft" }, h("code", {}, text(one.id)), " · ", period(listed(object(object(one.extent).temporal).interval)[0])))));
  return {
    title: "Geometries",
    content: [h("h1", {}, "Geometries"),
      h("p", { class: "soft" }, "Collections of parcels, samples, regions: feature by feature, and as tiles for maps. QGIS and GDAL open this address (OGC API Features)."),
      cards.length ? h("ul", { class: "cards" }, cards)
        : h("p", {}, "There are none yet, or none for everybody. Make one with ", h("code", {}, "terrazzo ingest parcels.gpkg --collection ID --datetime 2024"), ".")],
  };
}

export async function featureMap(): Promise<Content> {
  const [told, schema] = await Promise.all([ask(at("features", "collections", id)), ask(at("features", "collections", id, "schema"))]);
  const title = text(told.title) || id;
  const names = Object.keys(object(schema.properties)).filter((name) => name !== "geometry");
  const about = h("div", { class: "chosen", "aria-live": "polite" }, h("p", { class: "soft" }, "Click a feature to see its attributes."));
  const colours = new Palette();
  const legend = h("ul", { class: "legend" });
  let current = here.item;
  const map = new FeatureMap(`Map of ${title}.`, {
    address: (zoom, row, column) => withQuery(
      at("features", "collections", id, "tiles", "WebMercatorQuad", String(zoom), String(row), String(column)),
      // Of wide tables a tile has the first attributes only, unless others are asked for.
      colours.name && names.length > MOST ? { properties: colours.name } : {}),
    colour: (one) => colours.of(one.get(colours.name)),
    isChosen: (one) => nameOf(one.getProperties(), one.getId()) === current,
    onpick: (one) => { if (one) void showOne(nameOf(one.getProperties(), one.getId())); },
    // The ends of a ramp were not known before all was drawn.
    ondrawn: () => { if (colours.legend(legend)) map.redraw(); },
  });
  const choose = (name: string) => {
    colours.by(name);
    if (names.length > MOST) map.refetch();
    map.redraw();
  };
  const select = h("select", { onchange: () => {
    choose(select.value);
    // So that the address can be sent to somebody.
    history.replaceState(null, "", select.value ? `#colour=${encodeURIComponent(select.value)}` : location.pathname + location.search);
  } }, h("option", { value: "" }, "one colour"), names.map((name) => h("option", { value: name }, name)));
  const asked = new URLSearchParams(location.hash.slice(1)).get("colour");
  if (asked && names.includes(asked)) {
    select.value = asked;
    choose(asked);
  }

  async function showOne(name: string, go = false): Promise<void> {
    current = name;
    map.redraw();
    try {
      const one = await ask(at("features", "collections", id, "items", name));
      about.replaceChildren(h("h2", {}, link(at("features", "collections", id, "items", name).href, name)),
        facts(Object.entries(object(one.properties)).map(([key, value]) => [key, shown(value)])));
      if (go && one.geometry) map.fit(boxOf(one.geometry));
    } catch (error) {
      about.replaceChildren(h("p", { class: "wrong" }, words(error)));
    }
  }

  const box = flat(listed(object(object(told.extent).spatial).bbox)[0]);
  if (box) {
    map.whole = box;
    map.fit(box);
  }
  if (here.item) void showOne(here.item, true);
  return {
    title,
    content: [
      h("h1", {}, title),
      h("div", { class: "split search" },
        h("div", {}, facts([["Id", h("code", {}, id)], ["Time", period(listed(object(object(told.extent).temporal).interval)[0])],
          ["Place", box && boxText(box)], ["Files", link(at("collections", id).href, "the collection as STAC has it")]]),
          h("label", {}, "Colour by", select), legend, about),
        h("div", { class: "beside" }, map.host)),
      search(map, names, showOne),
      section("In other programs", h("dl", {},
        program("GDAL", `ogr2ogr fields.gpkg "OAPIF:${at("features").href}" ${id}`),
        program("QGIS", `WFS / OGC API – Features: ${at("features").href}`),
        program("Vector tiles", `${at("features", "collections", id, "tiles", "WebMercatorQuad").href}/{z}/{y}/{x}`))),
    ],
  };
}

const program = (name: string, code: string): HTMLElement => h("div", {}, h("dt", {}, name), h("dd", {}, h("code", {}, code)));
const nameOf = (properties: Record<string, unknown>, feature: unknown): string => `${properties._item}.${feature}`;

/** Features that a filter finds, as a table, drawn on the map. */
function search(map: FeatureMap, names: string[], showOne: (name: string, go: boolean) => Promise<void>): HTMLElement {
  const given = new URLSearchParams(location.search);
  const filter = h("input", { name: "filter", value: given.get("filter") ?? "", placeholder: names[0] ? `${names[0]} IS NOT NULL` : "" });
  const onMap = h("input", { type: "checkbox", name: "here" });
  const status = h("p", { class: "soft", role: "status" });
  const rows = h("div", {});
  const more = h("button", { type: "button", hidden: true }, "More");
  let next: URL | null = null, found: Document[] = [];

  async function load(address: URL): Promise<void> {
    status.textContent = "Looking.";
    try {
      const answer = await ask(address);
      found.push(...listed(answer.features).map(object));
      next = onward(address, answer);
      status.textContent = `${plural(found.length, "feature")}${next ? ", and more" : ""}`;
      status.classList.remove("wrong");
    } catch (error) {
      status.textContent = words(error);
      status.classList.add("wrong");
      next = null;
    }
    more.hidden = !next;
    const heads = names.slice(0, COLUMNS);
    rows.replaceChildren(table("Features", ["Feature", ...heads], found.map((one) => row(one, heads))));
    map.showFound(filter.value || onMap.checked ? found.map((one) => one.geometry as unknown as Geometry | null).filter((one) => one !== null) : []);
  }

  function row(one: Document, heads: string[]): HTMLElement {
    const name = text(one.id), properties = object(one.properties);
    const go = (event: Event) => {
      event.preventDefault();
      void showOne(name, true);
      map.host.scrollIntoView({ block: "nearest" });
    };
    return h("tr", {}, h("td", {}, h("a", { href: at("features", "collections", id, "items", name).href, onclick: go }, name)),
      heads.map((head) => h("td", { class: typeof properties[head] === "number" ? "number" : "value" }, properties[head] === undefined || properties[head] === null ? "" : shown(properties[head]))));
  }

  function begin(): void {
    const address = at("features", "collections", id, "items");
    // What the address of the page asks for, such as crop=rye, is asked of the server.
    const asked = new URLSearchParams([...given].filter(([name]) => !["limit", "token", "filter"].includes(name)));
    asked.set("limit", String(filter.value || onMap.checked ? PAGE : FEW));
    if (filter.value) asked.set("filter", filter.value);
    if (onMap.checked) asked.set("bbox", map.bounds().map((one, i) => (i % 2 ? one : Math.max(-180, Math.min(180, one)))).join(","));
    address.search = String(asked);
    found = [];
    void load(address);
  }
  more.addEventListener("click", () => { if (next) void load(next); });
  const form = h("form", { class: "panel", onsubmit: (event: Event) => { event.preventDefault(); begin(); } },
    h("label", {}, "Filter, CQL2", filter), h("label", { class: "check" }, onMap, " only what lies on the map"),
    h("div", { class: "row" }, h("button", { class: "main" }, "Find")));
  begin();
  return section("Features", form, status, rows, more);
}

/** A geometry's box with as much around it as it is wide. */
function boxOf(geometry: unknown): Box {
  const points = outlines(geometry).flat();
  const side = (axis: number, pick: (...numbers: number[]) => number) => points.reduce((edge, point) => pick(edge, point[axis]!), points[0]![axis]!);
  const [west, south, east, north] = [side(0, Math.min), side(1, Math.min), side(0, Math.max), side(1, Math.max)] as Box;
  const more = Math.max(east - west, north - south, 0.001) / 2;
  return [west - more, south - more, east + more, north + more];
}
