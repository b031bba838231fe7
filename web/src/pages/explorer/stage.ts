/** What the panels of the explorer do with the map. */
import type { JsonObject, Look } from "../../core/backend";
import type { MapView } from "../../core/map";
import type { RasterLayer } from "../../core/raster";
import type { Box } from "../bounds";
import type { Collection } from "./collections";

/** What takes less than this share of the map is a spot on it. */
const SPOT = 0.15;

/** A layer that somebody wants to see. */
export interface Wish {
  name: string;
  /** What `open` is asked for. */
  source: JsonObject;
  look: Look;
  /** Where the map goes for it: to all of it, if that is not told; null stays. */
  place?: Box | null;
}

export interface Stage {
  readonly view: MapView;
  /** Key of the layer that nobody chose, which the first scene replaces; null for none. */
  readonly first: string | null;
  /**
   * Opens a layer on top, or in the place of one.
   *
   * @param instead key of the layer that it replaces, if that is there.
   */
  open: (wish: Wish, instead?: string | null) => Promise<RasterLayer>;
  /** Puts a collection of geometries on top. */
  features: (collection: Collection, color: string) => Promise<void>;
  /** Shows one layer left of a divider and the other right of it. */
  compare: (left: string, right: string) => void;
  /** What was drawn last on the map, GeoJSON in degrees; null for nothing. */
  drawn: () => JsonObject | null;
}

/** What the map shows, at most the globe. */
export function shownBox(view: MapView): Box {
  const [west, south, east, north] = view.boundsInDegrees();
  return [west, Math.max(south, -90), east, Math.min(north, 90)];
}

/** Whether a box is seen whole, and not as a mere spot. */
export function isSeen(view: MapView, [west, south, east, north]: Box): boolean {
  const [left, bottom, right, top] = shownBox(view);
  const inside = west >= left && south >= bottom && east <= right && north <= top;
  return inside && Math.max((east - west) / (right - left), (north - south) / (top - bottom)) > SPOT;
}
