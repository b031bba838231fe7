/** The page of one collection. */
import { h } from "../../core/dom";
import { bandsOf, isVector, preferred, type ToldBand } from "../bands";
import { boxText } from "../bounds";
import { count, facts, link, listed, object, period, prose, section, shown, table, text } from "../content";
import { FootprintMap } from "../footprints";
import { monthChart } from "../months";
import { ask, at, withQuery, type Document } from "../../http/server";
import { further, json } from "./documents";
import { here, type Content } from "./page";
import { ofCollection } from "./snippets";

const OURS = new Set(["self", "root", "parent", "items", "license", "data", "aggregate", "aggregations"]);

export async function collectionPage(): Promise<Content> {
  const id = here.collection;
  const [told, numbers] = await Promise.all([ask(at("collections", id)), months(id)]);
  const title = text(told.title) || id;
  const bands = bandsOf(told);
  const extent = object(told.extent);
  const boxes = listed(object(extent.spatial).bbox);
  const map = new FootprintMap("Map of where the collection is.");
  // With several boxes the first is that around all of them.
  map.show((boxes.length > 1 ? boxes.slice(1) : boxes).map((bbox) => ({ bbox })));
  const interval = listed(object(extent.temporal).interval)[0];
  const onMap = h("a", { class: "button", href: new URL(`#collection=${encodeURIComponent(id)}`, at()).href }, "Show on the map");
  return {
    title,
    content: [
      h("h1", {}, title),
      h("div", { class: "split" },
        h("div", {},
          ...(told.description === title ? [] : prose(told.description)),
          facts([
            ["Id", h("code", {}, id)],
            ["Time", period(interval)],
            ["Items", numbers && count(numbers.total)],
            ["Place", boxText(boxes[0])],
            ["Licence", licence(told)],
            ["Providers", listed(told.providers).map(provider)],
            ["Keywords", listed(told.keywords).map((word) => h("span", { class: "tag" }, text(word)))],
          ]),
          h("p", { class: "actions row" }, h("a", { class: "main button", href: at("collections", id, "items").href }, "Find items"),
            isVector(told["cube:dimensions"]) ? null : onMap)),
        h("div", { class: "beside" }, map.host)),
      ...(numbers?.buckets.length ? [section("Items per month", monthChart(numbers.buckets, (month) => byMonth(id, month)))] : []),
      ...(bands.length ? [bandTable(bands)] : []),
      ofCollection(told, preferred(bands)),
      ...summaries(told),
      section("As data", h("ul", {},
        json("This collection", at("collections", id)),
        json("Its items, GeoJSON", at("collections", id, "items")),
        h("li", {}, link(at("collections", id, "queryables").href, "Queryables"), ": what its items can be filtered by, JSON Schema"),
        further(told, OURS))),
    ],
  };
}

function byMonth(id: string, month: string): string {
  const [year, number] = month.split("-").map(Number) as [number, number];
  const last = new Date(Date.UTC(year, number, 0)).toISOString().slice(0, 10);
  return withQuery(at("collections", id, "items"), { datetime: `${month}-01T00:00:00Z/${last}T23:59:59.999Z` }).href;
}

interface Aggregation { name: string; value?: number; buckets?: { key: string; frequency: number }[] }

/** How many items there are, in all and by month; null where the server does not tell. */
async function months(id: string): Promise<{ total: number; buckets: [string, number][] } | null> {
  const wanted = { aggregations: "total_count,datetime_frequency", datetime_frequency_interval: "month" };
  try {
    const { aggregations } = await ask<{ aggregations: Aggregation[] }>(withQuery(at("collections", id, "aggregate"), wanted));
    const named = Object.fromEntries(aggregations.map((one) => [one.name, one]));
    const buckets = named.datetime_frequency?.buckets ?? [];
    return { total: named.total_count?.value ?? 0, buckets: buckets.map((one) => [String(one.key).slice(0, 7), one.frequency]) };
  } catch {
    return null;
  }
}

function licence(told: Document): HTMLElement | string {
  const to = listed(told.links).map(object).find((one) => one.rel === "license")?.href;
  const name = text(told.license);
  return to ? link(to, name || "licence") : name;
}

function provider(one: unknown): HTMLElement {
  const { name, url, roles } = object(one);
  return h("div", {}, url ? link(url, text(name) || text(url)) : text(name), listed(roles).length ? ` (${listed(roles).map(text).join(", ")})` : "");
}

function bandTable(bands: ToldBand[]): HTMLElement {
  const finite = (value: unknown): string => (Number.isFinite(value) ? String(value) : "");
  const columns: [string, (band: ToldBand) => Node | string][] = [["Name", (band) => h("code", {}, band.name)], ["Common name", (band) => band.common],
    ["Wavelength, µm", (band) => finite(band.wavelength)], ["Pixel, m", (band) => finite(band.gsd)], ["About", (band) => band.about]];
  const heads = columns.filter(([name, of]) => name === "Name" || bands.some(of));
  return section("Bands", table("Bands", heads.map(([name]) => name),
    bands.map((band) => h("tr", {}, heads.map(([, of]) => h("td", {}, of(band)))))));
}

function summaries(told: Document): HTMLElement[] {
  const others = Object.entries(object(told.summaries)).filter(([name]) => !["eo:bands", "bands", "raster:bands"].includes(name));
  if (!others.length) return [];
  const value = (one: unknown): string => {
    const { minimum, maximum } = object(one);
    return minimum !== undefined && maximum !== undefined ? `${shown(minimum)} to ${shown(maximum)}` : shown(one);
  };
  return [section("What its items are like", facts(others.map(([name, one]) => [name, value(one)])))];
}
