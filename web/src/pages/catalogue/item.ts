/** The page of one item. */
import { h } from "../../core/dom";
import { bandsOf, preferred } from "../bands";
import { boxText } from "../bounds";
import { facts, link, listed, moment, object, section, shown, table, text } from "../content";
import { FootprintMap } from "../footprints";
import { hasFiles, preview } from "../preview";
import { ask, at, words, type Document } from "../../http/server";
import { further, json } from "./documents";
import { here, type Content } from "./page";
import { ofItem } from "./snippets";

const OURS = new Set(["self", "root", "parent", "collection"]);

export async function itemPage(): Promise<Content> {
  const { collection, item: id } = here;
  const [item, parent] = await Promise.all([ask(at("collections", collection, "items", id)), ask(at("collections", collection))]);
  const properties = object(item.properties);
  const map = new FootprintMap("Map of where the item is.");
  map.show([item]);
  const times = [properties.start_datetime, properties.end_datetime].map(text).filter(Boolean).map(moment);
  const value = (one: unknown): Node | string => (typeof one === "string" && /^https?:/.test(one) ? link(one, one) : shown(one));
  const onMap = new URL(`#collection=${encodeURIComponent(collection)}&item=${encodeURIComponent(id)}`, at());
  const vectors = Boolean(properties["table:primary_geometry"]);
  return {
    title: id,
    content: [
      h("h1", {}, id),
      h("div", { class: "split even" }, vectors || !hasFiles(item) ? null : picture(object(item.assets)), h("div", {}, map.host)),
      facts([
        ["Collection", link(at("collections", collection).href, text(parent.title) || collection)],
        ["Time", properties.datetime ? moment(properties.datetime) : times.join(" to ")],
        ["Place", boxText(item.bbox)],
      ]),
      ...(vectors ? [] : [h("p", { class: "actions" }, h("a", { class: "main button", href: onMap.href }, "Show on the map"))]),
      assets(object(item.assets)),
      ...columns(listed(properties["table:columns"])),
      ofItem(item, preferred(bandsOf(parent))),
      section("Properties", table("Properties", ["Name", "Value"], Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) =>
        h("tr", {}, h("td", {}, h("code", {}, name)), h("td", { class: "value" }, value(one)))))),
      section("As data", h("ul", {}, json("This item", at("collections", collection, "items", id)), further(item, OURS))),
    ],
  };
}

/** The picture comes when it comes; the page does not wait for it. */
function picture(given: Document): HTMLElement {
  const { collection, item: id } = here;
  const figure = h("figure", { class: "picture" }, h("p", { class: "soft" }, "Making a picture."));
  preview(collection, id, `Picture of ${id}`, 640).then((image) => {
    const { bands } = image.dataset;
    const about = bands ? `${bands}, from the 2nd to the 98th percentile` : "The item's own picture";
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 320));
    figure.replaceChildren(image, h("figcaption", {}, about));
  }, (error: unknown) => {
    // A picture elsewhere is not fetched from there, but may be opened.
    const roles = (key: string, asset: unknown) => [key, ...listed(object(asset).roles)];
    const own = Object.entries(given).find(([key, asset]) => roles(key, asset).some((role) => role === "thumbnail" || role === "overview"))?.[1];
    figure.replaceChildren(h("p", { class: "soft" }, `There is no picture. ${words(error)} `,
      own ? link(object(own).href, "The item's own picture") : ""));
  });
  return figure;
}

function assets(given: Document): HTMLElement {
  const rows = Object.entries(given).map(([key, one]) => {
    const asset = object(one);
    const bands = listed(asset.bands).length ? listed(asset.bands) : listed(asset["eo:bands"]);
    const title = text(asset.title);
    return h("tr", {},
      h("td", {}, h("code", {}, key), title && title !== key ? h("div", { class: "soft" }, title) : null),
      h("td", {}, text(asset.type).replace("; application=geotiff; profile=cloud-optimized", ", cloud-optimised").replace(/^image\//, "")),
      h("td", {}, listed(asset.roles).map(text).join(", ")),
      h("td", {}, bands.map((band) => text(object(band).name)).filter(Boolean).join(", ")),
      h("td", {}, /^https?:/.test(text(asset.href)) ? link(asset.href, "Download", { "aria-label": `Download ${key}` }) : link(null, text(asset.href))));
  });
  return section("Assets", rows.length ? table("Assets", ["Key", "Type", "Roles", "Bands", "File"], rows) : h("p", {}, "This item has none."));
}

/** What the features of an item of geometries tell. */
function columns(told: unknown[]): HTMLElement[] {
  const rows = told.map(object).map((one) => h("tr", {}, h("td", {}, h("code", {}, text(one.name))), h("td", {}, text(one.type))));
  return rows.length ? [section("Columns", table("Columns", ["Name", "Type"], rows))] : [];
}
