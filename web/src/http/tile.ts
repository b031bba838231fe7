/** Where a server has a tile of a layer, and what it says of it. */
import type { Look } from "../core/backend";

/** Which parameters of a tile are its place, and not its query. */
export interface TileParams { matrix: string; z: number; x: number; y: number; look: Look; format?: string }

/** @param root address of the server, with a slash at its end. */
export function tileAddress(root: URL, layer: string, { matrix, z, x, y, look, format }: TileParams): URL {
  const path = ["layers", layer, "tiles", matrix, z, x, `${y}.${format ?? "png"}`];
  const address = new URL(path.map((part) => encodeURIComponent(part)).join("/"), root);
  address.searchParams.set("look", JSON.stringify(look));
  return address;
}

/** At which pixel size a picture was computed, metres; null where that is not told. */
export function resolutionOf(answer: Response): number | null {
  const told = Number(answer.headers.get("X-Resolution-Metres"));
  return told > 0 ? told : null;
}
