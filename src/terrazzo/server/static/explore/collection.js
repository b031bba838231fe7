// The page of one collection.
import { ask, at, fetched } from "./api.js";
import { boxText } from "./bounds.js";
import { monthChart } from "./chart.js";
import { count, el, facts, link, listed, object, period, prose, section, shown, table, text } from "./dom.js";
import { FootprintMap } from "./map.js";
import { ofCollection } from "./snippets.js";

const { collection: id } = document.documentElement.dataset;

export async function collectionPage() {
  const [document_, numbers] = await Promise.all([ask(at("collections", id)), months()]);
  const title = text(document_.title) || id;
  const bands = bandsOf(document_);
  const extent = object(document_.extent);
  const boxes = listed(object(extent.spatial).bbox);
  const map = new FootprintMap("Map of where the collection is.");
  // With several boxes the first is that around all of them.
  map.show((boxes.length > 1 ? boxes.slice(1) : boxes).map((bbox) => ({ bbox })));
  const interval = listed(object(extent.temporal).interval)[0];
  return {
    title,
    content: [
      el("h1", {}, title),
      el("div", { class: "split" },
        el("div", {},
          ...(document_.description === title ? [] : prose(document_.description)),
          facts([
            ["Id", el("code", {}, id)],
            ["Time", period(interval)],
            ["Items", numbers && count(numbers.total)],
            ["Place", boxText(boxes[0])],
            ["Licence", licence(document_)],
            ["Providers", listed(document_.providers).map(provider)],
            ["Keywords", listed(document_.keywords).map((word) => el("span", { class: "tag" }, text(word)))],
          ]),
          el("p", { class: "actions" }, el("a", { class: "main button", href: at("collections", id, "items").href }, "Find items"))),
        el("div", { class: "beside" }, map.host)),
      numbers?.buckets.length ? section("Items per month", monthChart(numbers.buckets, byMonth)) : null,
      bands.length ? bandTable(bands) : null,
      ofCollection(document_, preferred(bands)),
      summaries(document_),
      section("As data", el("ul", {},
        json("This collection", at("collections", id)),
        json("Its items, GeoJSON", at("collections", id, "items")),
        el("li", {}, link(at("collections", id, "queryables").href, "Queryables"), ": what its items can be filtered by, JSON Schema"),
        further(document_))),
    ].filter(Boolean),
  };
}

// What a browser would get as a page, as the JSON that programs get.
export function json(name, address) {
  const open = async (event) => {
    event.preventDefault();
    const blob = await (await fetched(address, { headers: { Accept: "application/json" } })).blob();
    const url = URL.createObjectURL(new Blob([blob], { type: "application/json" }));
    el("a", { href: url, download: `${name}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  return el("li", {}, el("a", { href: address.href, onclick: open }, `${name} as a JSON file`), ": ", el("code", {}, address.href));
}

function byMonth(month) {
  const address = at("collections", id, "items");
  const [year, number] = month.split("-").map(Number);
  const last = new Date(Date.UTC(year, number, 0)).toISOString().slice(0, 10);
  address.search = new URLSearchParams({ datetime: `${month}-01T00:00:00Z/${last}T23:59:59.999Z` });
  return address.href;
}

// How many items there are, in all and by month; null where the server does not tell.
async function months() {
  const address = at("collections", id, "aggregate");
  address.search = new URLSearchParams({ aggregations: "total_count,datetime_frequency", datetime_frequency_interval: "month" });
  try {
    const { aggregations } = await ask(address);
    const named = Object.fromEntries(aggregations.map((one) => [one.name, one]));
    return { total: named.total_count.value, buckets: listed(named.datetime_frequency?.buckets).map((one) => [String(one.key).slice(0, 7), one.frequency]) };
  } catch {
    return null;
  }
}

function licence(document_) {
  const to = listed(document_.links).find((one) => object(one).rel === "license")?.href;
  const name = text(document_.license);
  return to ? link(to, name || "licence") : name;
}

function provider(one) {
  const { name, url, roles } = object(one);
  return el("div", {}, url ? link(url, text(name) || url) : text(name), listed(roles).length ? ` (${listed(roles).map(text).join(", ")})` : "");
}

// Bands by whichever of the ways they are written, old or new.
export function bandsOf(document_) {
  const told = listed(document_.bands).length ? document_.bands : listed(object(document_.summaries)["eo:bands"]);
  return told.map(object).filter((band) => text(band.name)).map((band) => ({
    name: band.name,
    common: text(band["eo:common_name"] ?? band.common_name),
    wavelength: band["eo:center_wavelength"] ?? band.center_wavelength,
    gsd: band.gsd ?? band["raster:spatial_resolution"] ?? document_.gsd,
    about: text(band.description),
  }));
}

// What a first look takes: red, green and blue, or the first one.
export function preferred(bands) {
  const colours = ["red", "green", "blue"].map((name) => bands.find((band) => band.common === name || band.name === name)?.name);
  return colours.every(Boolean) ? colours : bands.slice(0, 1).map((band) => band.name);
}

function bandTable(bands) {
  const heads = [["Name", (band) => el("code", {}, band.name)], ["Common name", (band) => band.common],
    ["Wavelength, µm", (band) => (Number.isFinite(band.wavelength) ? String(band.wavelength) : "")],
    ["Pixel, m", (band) => (Number.isFinite(band.gsd) ? String(band.gsd) : "")], ["About", (band) => band.about]]
    .filter(([name, of]) => name === "Name" || bands.some(of));
  return section("Bands", table("Bands", heads.map(([name]) => name),
    bands.map((band) => el("tr", {}, heads.map(([, of]) => el("td", {}, of(band)))))));
}

function summaries(document_) {
  const told = Object.entries(object(document_.summaries)).filter(([name]) => !["eo:bands", "bands", "raster:bands"].includes(name));
  if (!told.length) return null;
  const value = (one) => {
    const { minimum, maximum } = object(one);
    return minimum !== undefined && maximum !== undefined ? `${shown(minimum)} to ${shown(maximum)}` : shown(one);
  };
  return section("What its items are like", facts(told.map(([name, one]) => [name, value(one)])));
}

function further(document_) {
  const ours = new Set(["self", "root", "parent", "items", "license", "data", "aggregate", "aggregations"]);
  return listed(document_.links).map(object).filter((one) => !ours.has(one.rel) && !text(one.rel).startsWith("http://www.opengis.net/") && text(one.href))
    .map((one) => el("li", {}, link(one.href, text(one.title) || text(one.href)), el("span", { class: "soft" }, ` ${text(one.rel)}`)));
}
