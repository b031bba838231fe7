/** What lies under the layers: Natural Earth's land, or a map of the web that somebody chose. */

import Feature from "ol/Feature";
import MultiLineString from "ol/geom/MultiLineString";
import MultiPolygon from "ol/geom/MultiPolygon";
import Polygon from "ol/geom/Polygon";
import LayerGroup from "ol/layer/Group";
import TileLayer from "ol/layer/Tile";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import XYZ from "ol/source/XYZ";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import Text from "ol/style/Text";

import { inWords } from "./backend";
import { type Land, type LandFile, domain, graticule, unpack, within } from "./land";
import type { MapView } from "./map";

/** Gives a built file that lies beside the bundle, as JSON. */
export type Assets = (name: string) => Promise<unknown>;

/** Assets of a page: fetched from where its script came from. */
export function assetsBeside(script: string): Assets {
  return async (name) => {
    const answer = await fetch(new URL(name, script));
    if (!answer.ok) throw new Error(`The basemap did not come (${answer.status}).`);
    return answer.json();
  };
}

export interface BasemapChoice {
  name: string;
  title: string;
  /** Of another host: loaded only when somebody chooses it. */
  url?: string;
  attribution: string;
  maxzoom?: number;
}

export const BASEMAPS: readonly BasemapChoice[] = [
  { name: "natural-earth", title: "Countries (offline)", attribution: "Natural Earth" },
  { name: "none", title: "None", attribution: "" },
  {
    name: "openstreetmap", title: "OpenStreetMap (online)", maxzoom: 19,
    url: "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
    attribution: "© OpenStreetMap contributors",
  },
  {
    name: "eox-s2cloudless", title: "Sentinel-2 cloudless 2020 (online)", maxzoom: 15,
    url: "https://tiles.maps.eox.at/wmts/1.0.0/s2cloudless-2020_3857/default/g/{z}/{y}/{x}.jpg",
    attribution: "Sentinel-2 cloudless by EOX (contains modified Copernicus Sentinel data 2020)",
  },
];

/** The basemap of one map; follows its projection and its colours. */
export class Basemap {
  /** What could not be shown, in words. */
  error: string | null = null;
  #name = "none";
  #land: Land | null = null;
  #shown = 0;
  readonly #ends: (() => void)[] = [];

  constructor(private readonly view: MapView, private readonly assets: Assets) {
    this.#ends.push(view.onChange((what) => {
      if (what === "projection") void this.#draw();
    }));
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const again = () => void this.#draw();
    scheme.addEventListener("change", again);
    this.#ends.push(() => scheme.removeEventListener("change", again));
    const themes = new MutationObserver(again);
    for (let e: HTMLElement | null = view.element; e; e = e.parentElement) {
      themes.observe(e, { attributes: true, attributeFilter: ["data-theme"] });
    }
    this.#ends.push(() => themes.disconnect());
  }

  get name(): string {
    return this.#name;
  }

  get attribution(): string {
    return BASEMAPS.find((one) => one.name === this.#name)?.attribution ?? "";
  }

  /** Show one of `BASEMAPS`; a name that is none of them shows none. */
  async show(name: string): Promise<void> {
    this.#name = BASEMAPS.some((one) => one.name === name) ? name : "none";
    await this.#draw();
  }

  destroy(): void {
    for (const end of this.#ends) end();
  }

  async #draw(): Promise<void> {
    this.#shown += 1;
    const mine = this.#shown;
    const choice = BASEMAPS.find((one) => one.name === this.#name);
    this.error = null;
    if (choice?.url) {
      this.view.setBase(online(choice.url, choice.maxzoom));
      return;
    }
    if (this.#name === "none") {
      this.view.setBase(null);
      return;
    }
    try {
      this.#land ??= unpack((await this.assets("land.json")) as LandFile);
    } catch (error) {
      this.error = inWords(error);
      this.view.changed("basemap");
      return;
    }
    if (mine === this.#shown) {
      this.view.setBase(offline(this.#land, this.view.projection, coloursOf(this.view.element)));
    }
  }
}

function online(url: string, maxZoom = 19): TileLayer {
  return new TileLayer({ source: new XYZ({ url, maxZoom, crossOrigin: "anonymous" }) });
}

interface Colours {
  land: string;
  coast: string;
  border: string;
  text: string;
  halo: string;
  grid: string;
}

function coloursOf(element: HTMLElement): Colours {
  const style = getComputedStyle(element);
  const of = (name: string) => style.getPropertyValue(`--tz-map-${name}`).trim() || "#888888";
  return {
    land: of("land"), coast: of("coast"), border: of("border"), text: of("text"), halo: of("sea"),
    grid: of("grid"),
  };
}

function offline(land: Land, code: string, colours: Colours): LayerGroup {
  const plain = code === "EPSG:3857" || code === "EPSG:4326";
  const box = domain(code);
  const cut = { ...within(land, box, !plain), degrees: graticule(box) };
  const place = <T extends MultiPolygon | MultiLineString>(geometry: T): T => {
    geometry.transform("EPSG:4326", code);
    return geometry;
  };
  const world = { wrapX: plain };
  const countries = new VectorSource({
    ...world,
    features: cut.countries.map(({ name, polygons }) => new Feature({
      name, geometry: place(new MultiPolygon(polygons)), largest: largest(polygons, code),
    })),
  });
  const lines = new VectorSource({
    ...world,
    features: (["degrees", "coasts", "borders"] as const).map((kind) => new Feature({
      kind, geometry: place(new MultiLineString(cut[kind])),
    })),
  });
  // The stroke covers the seams between countries that are filled one by one.
  const fill = new Style({
    fill: new Fill({ color: colours.land }),
    stroke: new Stroke({ color: colours.land, width: 0.7 }),
  });
  const degrees = new Style({ stroke: new Stroke({ color: colours.grid, width: 1 }) });
  const coasts = new Style({ stroke: new Stroke({ color: colours.coast, width: 1 }) });
  const borders = new Style({
    stroke: new Stroke({ color: colours.border, width: 1, lineDash: [4, 3] }),
  });
  const styles = { degrees, coasts, borders };
  return new LayerGroup({
    layers: [
      new VectorLayer({ source: countries, style: fill, updateWhileInteracting: true }),
      new VectorLayer({
        source: lines, updateWhileInteracting: true,
        style: (feature) => styles[feature.get("kind") as keyof typeof styles],
      }),
      names(countries, colours),
    ],
  });
}

/** Names stand in the largest part of a country, where they fit. */
function names(countries: VectorSource, colours: Colours): VectorLayer {
  const text = new Text({
    font: "12px system-ui, sans-serif", fill: new Fill({ color: colours.text }),
    stroke: new Stroke({ color: colours.land, width: 3 }),
  });
  const style = new Style({
    text, geometry: (feature) => feature.get("largest") as Polygon | undefined,
  });
  return new VectorLayer({
    source: countries, declutter: true, maxResolution: 12_000,
    style: (feature) => {
      text.setText(String(feature.get("name")));
      return style;
    },
  });
}

function largest(polygons: [number, number][][][], code: string): Polygon | undefined {
  let [found, size]: [Polygon | undefined, number] = [undefined, 0];
  for (const rings of polygons) {
    const polygon = new Polygon(rings);
    polygon.transform("EPSG:4326", code);
    const area = polygon.getArea();
    if (area > size) [found, size] = [polygon, area];
  }
  return found;
}
