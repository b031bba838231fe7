// How to load what a page shows, ready to be copied.
import { at } from "./api.js";
import { asked, flat } from "./bounds.js";
import { day, el, object, section } from "./dom.js";

// A text of JSON is one of Python, too; so is a list.
const py = (value) => (Array.isArray(value) ? `[${value.map(py).join(", ")}]` : JSON.stringify(value));
const round = (number) => +number.toFixed(4);
const sql = (words) => `'${words.replaceAll("'", "''")}'`;
const accounts = Boolean(document.getElementById("account").dataset.accounts);
const server = () => at().href.replace(/\/$/, "");

// A box inside of another: its middle, and not more than a degree.
function within(bbox) {
  const box = flat(bbox);
  if (!box) return null;
  const [west, south, east, north] = box;
  const lon = (west + east) / 2, lat = (south + north) / 2;
  const wide = Math.min((east - west) / 4, 0.25), high = Math.min((north - south) / 4, 0.25);
  return asked([lon - wide, lat - high, lon + wide, lat + high]).map(round);
}

function dayAfter(time) {
  const next = new Date(`${day(time)}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

// The time that a graph asks for: half-open, as openEO has it, and not more than a year of what is there.
function year([first, last]) {
  if (!last) return null;
  const end = dayAfter(last), begin = `${Number(end.slice(0, 4)) - 1}${end.slice(4)}`;
  return [day(first) > begin ? day(first) : begin, end];
}

function openeo(id, box, interval, bands, vectors) {
  const edges = box && ["west", "south", "east", "north"].map((side, i) => `${py(side)}: ${box[i]}`).join(", ");
  return ["import terrazzo", "", `connection = terrazzo.connect(${py(server())})`,
    accounts && 'connection.authenticate_basic("NAME", "PASSWORD")', "cube = connection.load_collection(",
    `    ${py(id)},`, edges && `    spatial_extent={${edges}},`, interval && `    temporal_extent=${py(interval)},`,
    bands.length ? `    bands=${py(bands)},` : null, ")", vectors ? 'cube.download("result.geojson")' : 'cube.max_time().download("result.tif")']
    .filter((line) => line !== null && line !== undefined && line !== false).join("\n");
}

function client(id, box, interval, ids) {
  const limits = ids ? `ids=[${py(ids)}]` : [box && `bbox=${py(box)}`, interval && `datetime=${py(interval.join("/"))}`].filter(Boolean).join(", ");
  return ["import pystac_client", "", `api = pystac_client.Client.open(${py(server())})`,
    `search = api.search(collections=[${py(id)}]${limits && `, ${limits}`})`, "for item in search.items():",
    "    print(item.id, item.datetime, list(item.assets))"].join("\n");
}

function copied(name, code, about) {
  const said = el("span", { role: "status", class: "soft" });
  const block = el("pre", { tabindex: "0" }, el("code", {}, code));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code);
      said.textContent = "Copied.";
    } catch {  // not in a page that came without encryption
      getSelection().selectAllChildren(block);
      said.textContent = "Selected: copy it with the keyboard.";
    }
  };
  return el("details", { class: "snippet" }, el("summary", {}, name), about ? el("p", { class: "soft" }, about) : null,
    el("div", { class: "row" }, el("button", { type: "button", onclick: copy }, "Copy"), said), block);
}

function opened(first, ...others) {
  first.open = true;
  return section("How to load it", first, ...others);
}

// Geometries have no pixels, and are loaded whole.
const isVector = (dimensions) => Object.values(dimensions).some((one) => object(one).type === "geometry");

export function ofCollection(document, bands) {
  const { id } = document;
  const vectors = isVector(object(document["cube:dimensions"]));
  const box = vectors ? null : within(document.extent?.spatial?.bbox?.[0]);
  const interval = year(document.extent?.temporal?.interval?.[0] ?? []);
  const items = at("collections", id, "items").href, [asset] = Object.keys(object(document.item_assets));
  return opened(
    copied("openEO in Python", openeo(id, box, vectors ? null : interval, bands, vectors), "terrazzo.connect returns the official openEO client; openeo.connect does the same."),
    copied("pystac-client", client(id, box, interval)),
    vectors ? null : copied("GDAL", `gdalinfo ${quoted(`STACIT:"${items}?limit=100"${asset ? `:asset=${asset}` : ""}`)}`, "The newest 100 items as one raster; whatever is built on GDAL 3.10 or later opens this name, Python's rasterio and QGIS too."),
    copied("QGIS", server(), "Layer, Data Source Manager, STAC: a new connection with this address."),
    copied("DuckDB", `SELECT item.id, item.properties.datetime\nFROM (SELECT unnest(features) AS item FROM read_json(${sql(`${items}?limit=1000`)}));`, "The newest 1000 items as a table."));
}

const quoted = (words) => `'${words.replaceAll("'", "'\\''")}'`;

export function ofItem(item, bands) {
  const vectors = isVector(object(item.properties["cube:dimensions"]));
  const box = vectors ? null : within(item.bbox);
  const time = item.properties.datetime ?? item.properties.start_datetime;
  return opened(
    copied("openEO in Python", openeo(item.collection, box, time && [day(time), dayAfter(time)], bands, vectors)),
    copied("pystac-client", client(item.collection, null, null, item.id)));
}
