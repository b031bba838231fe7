/** How to load what a page shows, ready to be copied. */
import { h } from "../../core/dom";
import { isVector } from "../bands";
import { asked, flat, type Box } from "../bounds";
import { day, listed, object, section, text } from "../content";
import { dayAfter } from "../graphs";
import { at, type Document } from "../../http/server";
import { accounts } from "./page";

// A text of JSON is one of Python, too; so is a list.
const py = (value: unknown): string => (Array.isArray(value) ? `[${value.map(py).join(", ")}]` : JSON.stringify(value));
const round = (number: number): number => +number.toFixed(4);
const sql = (words: string): string => `'${words.replaceAll("'", "''")}'`;
const quoted = (words: string): string => `'${words.replaceAll("'", "'\\''")}'`;
const server = (): string => at().href.replace(/\/$/, "");

/** A box inside of another: its middle, and not more than a degree. */
function within(bbox: unknown): Box | null {
  const box = flat(bbox);
  if (!box) return null;
  const [west, south, east, north] = box;
  const lon = (west + east) / 2, lat = (south + north) / 2;
  const wide = Math.min((east - west) / 4, 0.25), high = Math.min((north - south) / 4, 0.25);
  return asked([lon - wide, lat - high, lon + wide, lat + high]).map(round) as Box;
}

/** The time that a graph asks for: half-open, as openEO has it, and not more than a year of what is there. */
function year(interval: unknown): [string, string] | null {
  const [first, last] = listed(interval);
  if (!text(last)) return null;
  const end = dayAfter(day(last)), begin = `${Number(end.slice(0, 4)) - 1}${end.slice(4)}`;
  return [day(first) > begin ? day(first) : begin, end];
}

function openeo(id: string, box: Box | null, interval: string[] | null, bands: string[], vectors: boolean): string {
  const edges = box && ["west", "south", "east", "north"].map((side, i) => `${py(side)}: ${box[i]}`).join(", ");
  return ["import terrazzo", "", `connection = terrazzo.connect(${py(server())})`,
    accounts() ? 'connection.authenticate_basic("NAME", "PASSWORD")' : null, "cube = connection.load_collection(",
    `    ${py(id)},`, edges && `    spatial_extent={${edges}},`, interval && `    temporal_extent=${py(interval)},`,
    bands.length ? `    bands=${py(bands)},` : null, ")", vectors ? 'cube.download("result.geojson")' : 'cube.max_time().download("result.tif")']
    .filter((line) => line !== null).join("\n");
}

function client(id: string, box: Box | null, interval: string[] | null, item: string | null): string {
  const limits = item ? `ids=[${py(item)}]` : [box && `bbox=${py(box)}`, interval && `datetime=${py(interval.join("/"))}`].filter(Boolean).join(", ");
  return ["import pystac_client", "", `api = pystac_client.Client.open(${py(server())})`,
    `search = api.search(collections=[${py(id)}]${limits && `, ${limits}`})`, "for item in search.items():",
    "    print(item.id, item.datetime, list(item.assets))"].join("\n");
}

function copied(name: string, code: string, about?: string): HTMLDetailsElement {
  const said = h("span", { role: "status", class: "soft" });
  const block = h("pre", { tabindex: "0" }, h("code", {}, code));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code);
      said.textContent = "Copied.";
    } catch {  // not in a page that came without encryption
      getSelection()?.selectAllChildren(block);
      said.textContent = "Selected: copy it with the keyboard.";
    }
  };
  return h("details", { class: "snippet" }, h("summary", {}, name), about ? h("p", { class: "soft" }, about) : null,
    h("div", { class: "row" }, h("button", { type: "button", onclick: copy }, "Copy"), said), block);
}

function opened(first: HTMLDetailsElement, ...others: (HTMLElement | null)[]): HTMLElement {
  first.open = true;
  return section("How to load it", first, ...others);
}

export function ofCollection(document: Document, bands: string[]): HTMLElement {
  const id = text(document.id), extent = object(document.extent);
  const vectors = isVector(document["cube:dimensions"]);
  const box = vectors ? null : within(listed(object(extent.spatial).bbox)[0]);
  const interval = year(listed(object(extent.temporal).interval)[0]);
  const items = at("collections", id, "items").href, [asset] = Object.keys(object(document.item_assets));
  return opened(
    copied("openEO in Python", openeo(id, box, vectors ? null : interval, bands, vectors), "terrazzo.connect returns the official openEO client; openeo.connect does the same."),
    copied("pystac-client", client(id, box, interval, null)),
    vectors ? null : copied("GDAL", `gdalinfo ${quoted(`STACIT:"${items}?limit=100"${asset ? `:asset=${asset}` : ""}`)}`, "The newest 100 items as one raster; whatever is built on GDAL 3.10 or later opens this name, Python's rasterio and QGIS too."),
    copied("QGIS", server(), "Layer, Data Source Manager, STAC: a new connection with this address."),
    copied("DuckDB", `SELECT item.id, item.properties.datetime\nFROM (SELECT unnest(features) AS item FROM read_json(${sql(`${items}?limit=1000`)}));`, "The newest 1000 items as a table."));
}

export function ofItem(item: Document, bands: string[]): HTMLElement {
  const properties = object(item.properties), collection = text(item.collection);
  const vectors = isVector(properties["cube:dimensions"]);
  const box = vectors ? null : within(item.bbox);
  const time = text(properties.datetime ?? properties.start_datetime);
  return opened(
    copied("openEO in Python", openeo(collection, box, time ? [day(time), dayAfter(day(time))] : null, bands, vectors)),
    copied("pystac-client", client(collection, null, null, text(item.id))));
}
