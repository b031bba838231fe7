/** Distances and areas over the ellipsoid. */

import type { Geometry, Position } from "geojson";
import Feature from "ol/Feature";
import type { FeatureLike } from "ol/Feature";
import GeoJSON from "ol/format/GeoJSON";
import OlGeometry from "ol/geom/Geometry";
import OlLineString from "ol/geom/LineString";
import OlPoint from "ol/geom/Point";
import DrawInteraction from "ol/interaction/Draw";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import type Style from "ol/style/Style";

import { button } from "./choice";
import { fill, h } from "./dom";
import { area, distance } from "./format";
import { areaOf, type LonLat, lengthOf, perimeterOf } from "./geodesy";
import type { MapView } from "./map";
import { type Modes, onKeys, type Stop } from "./modes";
import { sketchStyle, words } from "./strokes";

/** Metres along a line or around a polygon, and square metres of a polygon; degrees in. */
export interface Measured {
  metres: number;
  squareMetres?: number;
}

/** Return how long and how large a shape is on the ellipsoid; null for points. */
export function measured(geometry: Geometry): Measured | null {
  switch (geometry.type) {
    case "LineString":
      return { metres: lengthOf(places(geometry.coordinates)) };
    case "MultiLineString":
      return { metres: sum(geometry.coordinates, (line) => lengthOf(places(line))) };
    case "Polygon":
      return ofPolygon(geometry.coordinates);
    case "MultiPolygon":
      return {
        metres: sum(geometry.coordinates, (rings) => ofPolygon(rings).metres),
        squareMetres: sum(geometry.coordinates, (rings) => ofPolygon(rings).squareMetres ?? 0),
      };
    default:
      return null;
  }
}

/** Return the size of a shape in words; of a point, where it is. */
export function sizeOf(geometry: Geometry): string {
  if (geometry.type === "Point") {
    const [lon, lat] = geometry.coordinates;
    return `${lon!.toFixed(5)}, ${lat!.toFixed(5)}`;
  }
  const size = measured(geometry);
  if (!size) return "";
  return size.squareMetres === undefined
    ? distance(size.metres)
    : `${area(size.squareMetres)}, ${distance(size.metres)} around`;
}

const MODES = { LineString: "measure-distance", Polygon: "measure-area" } as const;

const GEODESIC =
  "Distances and areas are geodesic: over the ellipsoid WGS 84, whatever the projection " +
  "of the map.";

export class Measure {
  readonly element: HTMLElement;
  /** Called with every finished measurement. */
  onmeasure: (geometry: Geometry, size: Measured) => void = () => undefined;
  private readonly source = new VectorSource();
  private readonly layer: VectorLayer;
  private readonly hint = h("p", { class: "tz-note" });
  private readonly said = h("output", { class: "tz-measured", "aria-live": "polite" });
  private readonly steps = h("ol", { class: "tz-steps" });
  private readonly clearing = button("Clear", () => this.clear());
  private readonly unlisten: Stop;
  private kept: Geometry[] = [];

  constructor(
    private readonly view: MapView,
    private readonly modes: Modes,
  ) {
    this.layer = new VectorLayer({
      source: this.source,
      zIndex: 8500,
      style: (feature) => this.style(feature),
    });
    this.layer.setMap(view.map);
    this.unlisten = view.onChange((what) => what === "projection" && this.redraw());
    const starters = (["LineString", "Polygon"] as const).map((type) => {
      const start = button(type === "Polygon" ? "Area" : "Distance");
      modes.bind(start, MODES[type], () => this.begin(type));
      return start;
    });
    this.element = h(
      "section",
      { class: "tz-tool tz-measure", "aria-label": "Measure" },
      h("h3", { class: "tz-title" }, "Measure"),
      h("div", { class: "tz-row" }, starters, this.clearing),
      this.hint,
      this.said,
      this.steps,
    );
    this.clear();
  }

  /** Measure a shape (degrees) and keep it on the map. */
  show(geometry: Geometry): void {
    const size = measured(geometry);
    if (!size) return;
    this.kept.push(geometry);
    this.redraw();
    this.tell(geometry);
    this.clearing.disabled = false;
    this.onmeasure(geometry, size);
  }

  /** Take all measurements off the map. */
  clear(): void {
    this.kept = [];
    this.source.clear();
    this.steps.replaceChildren();
    this.clearing.disabled = true;
    this.said.textContent = "";
    this.hint.textContent = GEODESIC;
  }

  destroy(): void {
    this.modes.stop(MODES.LineString);
    this.modes.stop(MODES.Polygon);
    this.unlisten();
    this.layer.setMap(null);
    this.element.remove();
  }

  private begin(type: keyof typeof MODES): Stop {
    const { map } = this.view;
    const draw = new DrawInteraction({ type, style: (feature) => this.style(feature) });
    draw.on("drawstart", (event) => {
      const geometry = event.feature.getGeometry()!;
      geometry.on("change", () => this.tell(this.inDegrees(geometry)));
    });
    draw.on("drawend", (event) => this.show(this.inDegrees(event.feature.getGeometry()!)));
    const unkey = onKeys(map, (key) => {
      if (key === "Backspace") draw.removeLastPoint();
      return key === "Backspace";
    });
    map.addInteraction(draw);
    this.hint.textContent = "Press for each point; press twice at the last one. Escape ends it.";
    return () => {
      this.hint.textContent = GEODESIC;
      unkey();
      map.removeInteraction(draw);
    };
  }

  private tell(geometry: Geometry): void {
    this.said.textContent = sizeOf(geometry);
    const line =
      geometry.type === "Polygon"
        ? geometry.coordinates[0]
        : geometry.type === "LineString"
          ? geometry.coordinates
          : [];
    const legs = places(line ?? []);
    fill(
      this.steps,
      legs.length > 2 &&
        legs.slice(1).map((to, at) => h("li", {}, distance(lengthOf([legs[at]!, to])))),
    );
  }

  private redraw(): void {
    const format = new GeoJSON({
      dataProjection: "EPSG:4326",
      featureProjection: this.view.projection,
    });
    this.source.clear(true);
    this.source.addFeatures(
      this.kept.map((one) => new Feature<OlGeometry>(format.readGeometry(one) ?? undefined)),
    );
  }

  private inDegrees(geometry: OlGeometry): Geometry {
    const format = new GeoJSON({
      dataProjection: "EPSG:4326",
      featureProjection: this.view.projection,
    });
    return format.writeGeometryObject(geometry) as Geometry;
  }

  private style(feature: FeatureLike): Style[] {
    const geometry = feature.getGeometry();
    if (!(geometry instanceof OlGeometry)) return sketchStyle;
    const size = measured(this.inDegrees(geometry));
    if (!size?.metres) return sketchStyle;
    const label = size.squareMetres === undefined ? distance(size.metres) : area(size.squareMetres);
    const end =
      geometry instanceof OlLineString ? new OlPoint(geometry.getLastCoordinate()) : undefined;
    return [...sketchStyle, words(label, end)];
  }
}

function ofPolygon(rings: readonly Position[][]): Required<Measured> {
  const [outside = []] = rings;
  return { metres: perimeterOf(places(outside)), squareMetres: areaOf(rings.map(places)) };
}

function places(positions: readonly Position[]): LonLat[] {
  return positions.map(([lon, lat]) => [lon!, lat!]);
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
