// The page around the map: services, dates, legend, values, links.
import { TileMap, toDegrees } from "./map.js";

const $ = (id) => document.getElementById(id);
const MERCATOR = "WebMercatorQuad";
const EQUATOR_M = 40075016.68557849;

let layer = null;
let keys = {};
let asked = 0;

const map = new TileMap($("map"), { onmove: readout, onpoint: point, onclick: values, onerror: tell });
let pointer = null;

// The address of something of a service, with its key if the page was opened with one; relative,
// because a proxy may put the server under a path.
function at(id, path, query = {}) {
  const given = String(new URLSearchParams({ ...query, ...(keys[id] && { key: keys[id] }) }));
  return `services/${id}/${path}${given && `?${given}`}`;
}

async function json(address) {
  const answer = await fetch(address);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message);
  return body;
}

function tell(error) {
  $("message").textContent = error?.message ?? String(error);
  $("message").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("message").hidden = true; }, 8000);
}

function options(select, names, chosen) {
  select.replaceChildren(...names.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

// The page opens at #ID, or at #ID?key=KEY for a service that is not for everybody.
async function start() {
  const [wanted, query] = location.hash.slice(1).split("?");
  keys = { [wanted]: new URLSearchParams(query).get("key") };
  const { maps } = await json("maps");
  const listed = maps.some((entry) => entry.id === wanted);
  const chosen = wanted && (listed || keys[wanted]) ? wanted : maps[0]?.id;
  if (!chosen) {
    $("value").textContent = "There are no services to look at yet. Run terrazzo demo, or POST a graph to /services.";
    map.redraw();
    return;
  }
  await choose(chosen);
  const choices = maps.map((entry) => [entry.id, entry.title]);
  if (!maps.some((entry) => entry.id === chosen)) choices.unshift([chosen, layer.title]);
  options($("layer"), choices, chosen);
}

async function choose(id) {
  layer = await json(at(id, "map"));
  history.replaceState(null, "", `#${id}${keys[id] ? `?key=${keys[id]}` : ""}`);
  document.title = `${layer.title} - Terrazzo`;
  options($("date"), layer.dates.map((date) => [date, date.replace("T00:00:00Z", "")]), layer.shown.time);
  $("date-row").hidden = layer.dates.length < 2;
  const single = layer.bands.map((band) => [band, band]);
  options($("band"), layer.bands.length === 3 ? [["", "three as colours"], ...single] : single,
    layer.shown.bands.length === 1 ? layer.shown.bands[0] : single[0]?.[0]);
  $("band-row").hidden = layer.bands.length < 2;
  legend();
  const native = layer.matrices.native, [, zoom] = native.zooms;
  const link = document.createElement("a");
  link.href = at(id, `tiles/native/${zoom}/0/0.png`);
  link.textContent = `first tile of its own grid (${native.crs}, ${metres(layer.resolution_metres)})`;
  const about = document.createElement("a");
  about.href = at(id, "map");
  about.textContent = "as JSON";
  $("links").replaceChildren(about, " \u00b7 ", link);
  $("sources").textContent = layer.sources.map((source) => source.description || source.title).join(" ");
  $("layer").title = layer.title;
  map.mark = null;
  show();
  map.fit(layer.bounds);
}

function legend() {
  const { min, max, colors } = layer.legend;
  $("legend").hidden = false;
  $("min").value = min; $("max").value = max;
  const stops = colors.map((colour, i) =>
    `<stop offset="${i / Math.max(colors.length - 1, 1)}" stop-color="${encodeURIComponent(colour).replace("%23", "#")}"/>`);
  $("bar").innerHTML = `<svg preserveAspectRatio="none" viewBox="0 0 100 12" role="img" aria-label="Colours from the lowest to the highest value">
    <linearGradient id="ramp">${stops.join("")}</linearGradient><rect width="100" height="12" fill="url(#ramp)"/></svg>`;
}

function show() {
  const query = {};
  if ($("date").value) query.time = $("date").value;
  if (layer.bands.length > 1 && $("band").value) query.bands = $("band").value;
  const low = $("min").valueAsNumber, high = $("max").valueAsNumber;
  if (Number.isFinite(low) && Number.isFinite(high) && low < high) {
    Object.assign(query, { min: low, max: high });
  }
  const id = layer.id, shown = layer.matrices[MERCATOR];
  map.show({
    bounds: layer.bounds,
    zooms: shown.zooms,
    tile: shown.tile,
    address: (z, x, y) => at(id, `tiles/${MERCATOR}/${z}/${x}/${y}.png`, query),
  });
}

function metres(size) {
  if (size >= 1000) return `${+(size / 1000).toPrecision(3)} km`;
  return `${+size.toPrecision(3)} m`;
}

function degrees(lon, lat) {
  return `${Math.abs(lat).toFixed(5)}\u00b0 ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(5)}\u00b0 ${lon < 0 ? "W" : "E"}`;
}

function point(lon, lat) {
  pointer = [lon, lat];
  readout();
}

function readout() {
  const [lon, lat] = pointer ?? toDegrees(map.x, map.y);
  const screen = EQUATOR_M * Math.cos(lat * Math.PI / 180) / map.scale();
  $("where").textContent = degrees(lon, lat);
  $("scale").textContent = `zoom ${map.zoom.toFixed(1)}, ${metres(screen)} per pixel`;
}

async function values(lon, lat) {
  if (!layer) return;
  const mine = ++asked;
  $("value").textContent = "...";
  try {
    const told = await json(at(layer.id, "point", { lon, lat }));
    if (mine !== asked) return;
    const head = document.createElement("div");
    head.textContent = degrees(lon, lat);
    const table = document.createElement("table");
    for (const { labels, value } of told.values) {
      const row = table.insertRow();
      row.insertCell().textContent = Object.values(labels).join(" ").replace("T00:00:00Z", "") || "value";
      row.insertCell().textContent = value === null ? "no data" : +value.toPrecision(6);
    }
    $("value").replaceChildren(head, told.values.length ? table : "Outside of the service.");
  } catch (error) {
    $("value").textContent = error.message;
  }
}

function step(by) {
  const select = $("date");
  select.selectedIndex = Math.max(0, Math.min(select.length - 1, select.selectedIndex + by));
  show();
}

$("layer").addEventListener("change", () => choose($("layer").value).catch(tell));
for (const id of ["date", "band", "min", "max"]) $(id).addEventListener("change", show);
$("earlier").addEventListener("click", () => step(-1));
$("later").addEventListener("click", () => step(1));
$("in").addEventListener("click", () => map.zoomBy(1));
$("out").addEventListener("click", () => map.zoomBy(-1));
$("fit").addEventListener("click", () => layer && map.fit(layer.bounds));
$("fold").addEventListener("click", () => {
  const hidden = ($("controls").hidden = !$("controls").hidden);
  $("fold").textContent = hidden ? "Show" : "Hide";
  $("fold").setAttribute("aria-expanded", String(!hidden));
});
start().catch(tell);
