/** How what is drawn and measured looks: a light line under a dark one shows on any picture. */

import type { FeatureLike } from "ol/Feature";
import type OlGeometry from "ol/geom/Geometry";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import Text from "ol/style/Text";

const DRAWN = "#0b57d0";
const CHOSEN = "#c2410c";
const FONT = "600 13px system-ui, sans-serif";

function lines(color: string, width = 2.5): Style[] {
  const point = (fill: string, radius: number) =>
    new CircleStyle({ radius, fill: new Fill({ color: fill }) });
  return [
    new Style({
      stroke: new Stroke({ color: "#fff", width: width + 2.5 }),
      image: point("#fff", 7.5),
    }),
    new Style({
      stroke: new Stroke({ color, width }),
      fill: new Fill({ color: `${color}22` }),
      image: point(color, 5.5),
    }),
  ];
}

const PLAIN = lines(DRAWN);
const STRONG = lines(CHOSEN, 3.5);

/** Words on the map: dark with a light rim. */
export function words(text: string, geometry?: OlGeometry): Style {
  return new Style({
    ...(geometry && { geometry }),
    zIndex: 1,
    text: new Text({
      text,
      font: FONT,
      offsetY: -14,
      overflow: true,
      fill: new Fill({ color: "#111" }),
      stroke: new Stroke({ color: "#fff", width: 4 }),
    }),
  });
}

/** Something drawn, with its name. */
export function drawnStyle(feature: FeatureLike, chosen: boolean): Style[] {
  const name: unknown = feature.get("name");
  const base = chosen ? STRONG : PLAIN;
  return typeof name === "string" && name ? [...base, words(name)] : base;
}

/** Something that is being drawn. */
export const sketchStyle: Style[] = PLAIN;
