// The page of one item.
import { ask, at } from "./api.js";
import { boxText } from "./bounds.js";
import { bandsOf, json, preferred } from "./collection.js";
import { el, facts, link, listed, moment, object, section, shown, table, text } from "./dom.js";
import { FootprintMap } from "./map.js";
import { preview } from "./preview.js";
import { ofItem } from "./snippets.js";

const { collection, item: id } = document.documentElement.dataset;

export async function itemPage() {
  const [item, parent] = await Promise.all([ask(at("collections", collection, "items", id)), ask(at("collections", collection))]);
  const properties = object(item.properties);
  const map = new FootprintMap("Map of where the item is.");
  map.show([item]);
  const times = [properties.start_datetime, properties.end_datetime].map(text).filter(Boolean).map(moment);
  return {
    title: id,
    content: [
      el("h1", {}, id),
      el("div", { class: "split even" }, properties["table:primary_geometry"] ? null : picture(object(item.assets)), el("div", {}, map.host)),
      facts([
        ["Collection", link(at("collections", collection).href, text(parent.title) || collection)],
        ["Time", properties.datetime ? moment(properties.datetime) : times.join(" to ")],
        ["Place", boxText(item.bbox)],
      ]),
      assets(object(item.assets)),
      columns(listed(properties["table:columns"])),
      ofItem(item, preferred(bandsOf(parent))),
      section("Properties", table("Properties", ["Name", "Value"], Object.entries(properties).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) =>
        el("tr", {}, el("td", {}, el("code", {}, name)), el("td", { class: "value" }, typeof value === "string" && /^https?:/.test(value) ? link(value, value) : shown(value)))))),
      section("As data", el("ul", {}, json("This item", at("collections", collection, "items", id)), links(item))),
    ].filter(Boolean),
  };
}

// The picture comes when it comes; the page does not wait for it.
function picture(given) {
  const figure = el("figure", { class: "picture" }, el("p", { class: "soft" }, "Making a picture."));
  preview(collection, id, `Picture of ${id}`, 640).then((image) => {
    const { bands } = image.dataset;
    const about = bands ? `${bands}, from the 2nd to the 98th percentile` : "The item's own picture";
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 320));
    figure.replaceChildren(image, el("figcaption", {}, about));
  }, (error) => {
    // A picture elsewhere is not fetched from there, but may be opened.
    const own = Object.entries(given).find(([key, { roles }]) => [key, ...listed(roles)].some((role) => role === "thumbnail" || role === "overview"))?.[1];
    figure.replaceChildren(el("p", { class: "soft" }, `There is no picture. ${error.message} `,
      own ? link(own.href, "The item's own picture") : null));
  });
  return figure;
}

function assets(given) {
  const rows = Object.entries(given).map(([key, asset]) => {
    const bands = listed(asset.bands).length ? asset.bands : listed(asset["eo:bands"]);
    return el("tr", {},
      el("td", {}, el("code", {}, key), text(asset.title) && asset.title !== key ? el("div", { class: "soft" }, asset.title) : null),
      el("td", {}, text(asset.type).replace("; application=geotiff; profile=cloud-optimized", ", cloud-optimised").replace(/^image\//, "")),
      el("td", {}, listed(asset.roles).map(text).join(", ")),
      el("td", {}, bands.map((band) => text(object(band).name)).filter(Boolean).join(", ")),
      el("td", {}, /^https?:/.test(text(asset.href)) ? link(asset.href, "Download", { "aria-label": `Download ${key}` }) : link(null, text(asset.href))));
  });
  return section("Assets", rows.length ? table("Assets", ["Key", "Type", "Roles", "Bands", "File"], rows) : el("p", {}, "This item has none."));
}

// What the features of an item of geometries tell.
function columns(told) {
  const rows = told.map(object).map((one) => el("tr", {}, el("td", {}, el("code", {}, text(one.name))), el("td", {}, text(one.type))));
  return rows.length ? section("Columns", table("Columns", ["Name", "Type"], rows)) : null;
}

function links(item) {
  const ours = new Set(["self", "root", "parent", "collection"]);
  return listed(item.links).map(object).filter((one) => !ours.has(one.rel) && text(one.href))
    .map((one) => el("li", {}, link(one.href, text(one.title) || text(one.href)), el("span", { class: "soft" }, ` ${text(one.rel)}`)));
}
