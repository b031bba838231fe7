/** A map of footprints: land, a graticule, outlines that can be pointed at and chosen, a box to draw. */
import type OlFeature from "ol/Feature";
import type { FeatureLike } from "ol/Feature";
import DragBox from "ol/interaction/DragBox";
import DragZoom from "ol/interaction/DragZoom";
import MouseWheelZoom from "ol/interaction/MouseWheelZoom";
import { always, focus, platformModifierKeyOnly, shiftKeyOnly } from "ol/events/condition";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import CircleStyle from "ol/style/Circle";

import { assetsBeside, Basemap } from "../core/basemap";
import type { Bounds } from "../core/backend";
import { h } from "../core/dom";
import { VectorLayer } from "../core/layer";
import { MapView } from "../core/map";
import { toDegrees } from "../core/projections";
import { around, collectionOf, corners, footprint, onGlobe, outline, type Box, type Shape } from "./bounds";
import { nothing } from "../http/backend";

const WORLD: Box = [-180, -60, 180, 75];
/** Beyond this latitude Web Mercator shows little that is true, and nothing beyond 85. */
const POLAR = 82;
const TINY = 9;

export interface FootprintOptions {
  /** Told the place of what was clicked in the list; null for nothing. */
  onpick?: (key: number | null) => void;
  onhover?: (key: number | null) => void;
  /** Told west, south, east, north once somebody has drawn a box. */
  onbox?: (box: Box) => void;
  /** Degrees that are shown at least, however small what is there. */
  least?: number;
}

/** What a colour variable of the page is now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * What the layer of footprints draws: outlines, small ones as spots, those that are pointed at stronger.
 *
 * @param hollow nothing lies over what is below.
 */
export function footprintStyle(many: () => boolean, hollow = false): (feature: FeatureLike, resolution: number) => Style {
  return (feature, resolution) => {
    const [chosen, hover] = [feature.get("chosen"), feature.get("hover")];
    const line = colour(chosen ? "--pick" : "--tz-accent");
    const stroke = new Stroke({ color: line, width: chosen || hover ? 3 : 1.5 });
    const share = chosen ? 0.25 : hover ? 0.35 : many() ? 0.03 : 0.12;
    const fill = new Fill({ color: faded(line, share) });
    const style = new Style({ stroke, ...(hollow ? {} : { fill }), zIndex: chosen ? 2 : hover ? 1 : 0 });
    const [left, bottom, right, top] = feature.getGeometry()!.getExtent() as Box;
    const size = Math.max(right - left, top - bottom) / resolution;
    style.setImage(new CircleStyle({ radius: 5, stroke, fill }));
    if (size < TINY) style.setStroke(new Stroke({ color: line, width: 7, lineJoin: "round", lineCap: "round" }));
    return style;
  };
}

function faded(hex: string, share: number): string {
  return `${hex}${Math.round(share * 255).toString(16).padStart(2, "0")}`;
}

/** A page scrolls when the wheel turns over a map in it, unless somebody works with the map. */
export function scrollPast(view: MapView): void {
  const wheel = view.map.getInteractions().getArray().find((one) => one instanceof MouseWheelZoom);
  if (wheel) view.map.removeInteraction(wheel);
  view.map.addInteraction(new MouseWheelZoom({ condition: (event) => focus(event) || platformModifierKeyOnly(event) }));
}

/** The buttons of a map in a page. */
export function mapTools(view: MapView, whole: () => Box, ...more: HTMLElement[]): HTMLElement {
  const button = (name: string, label: string, action: () => void) =>
    h("button", { type: "button", "aria-label": label, title: label, onclick: action }, name);
  return h("div", { class: "tools" }, button("+", "Zoom in", () => view.zoomBy(1)),
    button("−", "Zoom out", () => view.zoomBy(-1)), button("□", "Show all", () => view.fit(whole())), ...more);
}

export class FootprintMap {
  readonly host = h("div", { class: "map" });
  readonly view: MapView;
  readonly #options: FootprintOptions;
  readonly #shapes: VectorLayer;
  readonly #box: VectorLayer;
  #features = new Map<number, OlFeature>();
  #whole: Box = WORLD;
  #fitted: Box | null = WORLD;
  #hovered: number | null = null;

  /** @param about what a reader of the screen is told. */
  constructor(about: string, options: FootprintOptions = {}) {
    this.#options = options;
    this.host.setAttribute("role", "group");
    this.host.setAttribute("aria-label", `${about} Arrow keys move it, plus and minus zoom.`);
    this.view = new MapView(this.host, nothing);
    void new Basemap(this.view, assetsBeside(import.meta.url)).show("natural-earth");
    const common = { kind: "vector", visible: true, opacity: 1, data: collectionOf([]) } as const;
    this.#shapes = new VectorLayer({ ...common, key: "footprints", name: "Footprints" }, footprintStyle(() => this.#features.size > 4));
    this.#box = new VectorLayer({ ...common, key: "box", name: "Box" },
      new Style({ stroke: new Stroke({ color: colour("--pick"), width: 2, lineDash: [6, 4] }) }));
    this.view.add(this.#shapes);
    this.view.add(this.#box);
    this.#listen();
    this.host.append(mapTools(this.view, () => this.#whole, ...(options.onbox ? [this.#drawing()] : [])));
  }

  /** Shows features of GeoJSON; the key of one is its place in the list. */
  show(features: readonly Shape[]): void {
    const known = features.flatMap((feature, key) => {
      const found = footprint(feature);
      return found ? [{ key, ...found }] : [];
    });
    const { box, turns } = around(known.map((one) => one.box));
    this.#whole = box ?? WORLD;
    const polar = known.some((one) => Math.max(one.box[3], -one.box[1]) > POLAR) && known.every((one) => one.box[2] - one.box[0] < 350);
    this.view.setProjection(polar ? "EPSG:4326" : "EPSG:3857");
    // Small ones last, so that large ones do not cover them.
    const area = ([w, s, e, n]: Box) => (e - w) * (n - s);
    const turned = known.map((one, i) => ({ ...one, rings: one.rings.map((ring) => ring.map(([lon, lat]) => [lon! + turns[i]!, lat!])) }));
    turned.sort((a, b) => area(b.box) - area(a.box));
    this.#shapes.data = collectionOf(turned.map(({ rings }) => outline(rings)), turned.map(({ key }) => key));
    this.#features = new Map(this.#shapes.features.getFeatures().map((one) => [Number(one.getId()), one]));
    this.#fit(this.#whole);
  }

  mark(key: number | null, name: string): void {
    for (const [own, feature] of this.#features) {
      if (Boolean(feature.get(name)) !== (own === key)) feature.set(name, own === key);
    }
  }

  goTo(key: number): void {
    const extent = this.#features.get(key)?.getGeometry()?.getExtent();
    if (extent) this.#fit(toDegrees(extent as Bounds, this.view.projection) as Box);
  }

  /** Draws a box that was asked for; null for none. */
  ask(box: Box | null): void {
    this.#box.data = collectionOf(box ? [outline([corners(box)])] : []);
  }

  #fit([west, south, east, north]: Box): void {
    this.#fitted = [west, south, east, north];
    // A single point, or something very small, is shown with what is around it.
    const more = Math.max(0, (this.#options.least ?? 0.002) - Math.max(east - west, north - south)) / 2;
    const limit = this.view.projection === "EPSG:3857" ? 85 : 90;
    this.view.fit([west - more, Math.max(south - more, -limit), east + more, Math.min(north + more, limit)], 30);
  }

  #drawing(): HTMLButtonElement {
    const button = h("button", { type: "button", "aria-label": "Draw a box", title: "Draw a box (or drag with the Shift key)", "aria-pressed": "false" }, "▭");
    const zoom = this.view.map.getInteractions().getArray().find((one) => one instanceof DragZoom);
    if (zoom) this.view.map.removeInteraction(zoom);
    const drag = new DragBox({ className: "drawn-box", condition: (event) => (button.ariaPressed === "true" ? always() : shiftKeyOnly(event)) });
    const press = (on: boolean) => {
      button.ariaPressed = String(on);
      this.host.classList.toggle("drawing", on);
    };
    button.addEventListener("click", () => press(button.ariaPressed !== "true"));
    drag.on("boxend", () => {
      const drawn = toDegrees(drag.getGeometry().getExtent() as Bounds, this.view.projection) as Box;
      this.ask(drawn);
      this.#options.onbox?.(onGlobe(drawn));
      press(false);
    });
    this.view.map.addInteraction(drag);
    return button;
  }

  #listen(): void {
    scrollPast(this.view);
    const at = (pixel: number[]) => {
      const found = this.view.map.getFeaturesAtPixel(pixel, { layerFilter: (layer) => layer === this.#shapes.ol, hitTolerance: 4 });
      // The last one that was drawn is the smallest.
      const id = found[0]?.getId();
      return id === undefined ? null : Number(id);
    };
    this.view.map.on("pointermove", (event) => {
      if (event.dragging) return;
      const key = at(event.pixel);
      this.host.classList.toggle("over", key !== null);
      if (key !== this.#hovered) this.#options.onhover?.(key);
      this.#hovered = key;
    });
    this.view.map.on("click", (event) => this.#options.onpick?.(at(event.pixel)));
    this.view.map.on("pointerdrag", () => { this.#fitted = null; });
    this.view.map.on("change:size", () => { if (this.#fitted) this.#fit(this.#fitted); });
    this.view.onChange((what) => {
      if (what !== "moved") return;
      this.host.dataset.bounds = this.view.boundsInDegrees().map((one) => +one.toFixed(6)).join(" ");
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#shapes.ol.changed());
  }
}
