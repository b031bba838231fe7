/** Footprints of the scenes that a search found, above all layers of the map. */
import type OlFeature from "ol/Feature";
import { getArea } from "ol/extent";

import { VectorLayer } from "../../core/layer";
import type { MapView } from "../../core/map";
import { around, collectionOf, footprint, outline, type Box, type Shape } from "../bounds";
import { footprintStyle } from "../footprints";

const ABOVE = 1000;

export class Outlines {
  /** Told the place in the list of the footprint under the pointer, the smallest if there are many. */
  onhover: (key: number | null) => void = () => undefined;
  onpick: (key: number) => void = () => undefined;
  /** Around all of them; null for none. */
  box: Box | null = null;
  #layer: VectorLayer;
  #features = new Map<number, OlFeature>();
  #hovered: number | null = null;

  constructor(view: MapView) {
    this.#layer = new VectorLayer({ kind: "vector", key: "scenes", name: "Scenes found", visible: true, opacity: 1, data: collectionOf([]) },
      footprintStyle(() => this.#features.size > 4, true));
    this.#layer.ol.setZIndex(ABOVE);
    this.#layer.setProjection(view.projection);
    view.map.addLayer(this.#layer.ol);
    view.onChange((what) => {
      if (what !== "projection") return;
      this.#layer.setProjection(view.projection);
      this.#index();
    });
    view.map.on("pointermove", (event) => {
      if (event.dragging || !this.#features.size) return;
      const key = this.#at(event.coordinate);
      if (key !== this.#hovered) this.onhover(key);
      this.#hovered = key;
    });
    view.map.on("singleclick", (event) => {
      // Where pixels are seen a click asks for their values.
      const key = view.rasters.some(({ visible }) => visible) ? null : this.#at(event.coordinate);
      if (key !== null) this.onpick(key);
    });
  }

  set visible(visible: boolean) {
    this.#layer.ol.setVisible(visible);
  }

  show(features: readonly Shape[]): void {
    const known = features.flatMap((feature, key) => {
      const found = footprint(feature);
      return found ? [{ key, ...found }] : [];
    });
    const { box, turns } = around(known.map((one) => one.box));
    this.box = box;
    this.#layer.data = collectionOf(
      known.map(({ rings }, i) => outline(rings.map((ring) => ring.map(([lon, lat]) => [lon! + turns[i]!, lat!])))), known.map(({ key }) => key));
    this.#index();
  }

  mark(key: number | null, name: string): void {
    for (const [own, feature] of this.#features) {
      if (Boolean(feature.get(name)) !== (own === key)) feature.set(name, own === key);
    }
  }

  #index(): void {
    this.#features = new Map(this.#layer.features.getFeatures().map((one) => [Number(one.getId()), one]));
  }

  /** The smallest footprint at a place; those without an area cannot be met. */
  #at(coordinate: number[]): number | null {
    const found = this.#layer.features.getFeaturesAtCoordinate(coordinate);
    const size = (one: OlFeature) => getArea(one.getGeometry()!.getExtent());
    const id = found.sort((a, b) => size(a) - size(b))[0]?.getId();
    return id === undefined ? null : Number(id);
  }
}
