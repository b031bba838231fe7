/** Bands of a collection's document, by whichever of the ways they are written, old or new. */
import { listed, object, text } from "./content";
import type { Document } from "../http/server";

export interface ToldBand {
  name: string;
  common: string;
  wavelength: unknown;
  gsd: unknown;
  about: string;
}

export function bandsOf(document: Document): ToldBand[] {
  const told = listed(document.bands).length ? document.bands : object(document.summaries)["eo:bands"];
  return listed(told).map(object).filter((band) => text(band.name)).map((band) => ({
    name: text(band.name),
    common: text(band["eo:common_name"] ?? band.common_name),
    wavelength: band["eo:center_wavelength"] ?? band.center_wavelength,
    gsd: band.gsd ?? band["raster:spatial_resolution"] ?? document.gsd,
    about: text(band.description),
  }));
}

/** What a first look takes: red, green and blue, or the first one. */
export function preferred(bands: readonly { name: string; common: string }[]): string[] {
  const colours = ["red", "green", "blue"].map((name) => bands.find((band) => band.common === name || band.name === name)?.name);
  return colours.every((one) => one !== undefined) ? (colours as string[]) : bands.slice(0, 1).map((band) => band.name);
}

/** Geometries have no pixels, and are loaded whole. */
export const isVector = (dimensions: unknown): boolean => Object.values(object(dimensions)).some((one) => object(one).type === "geometry");
