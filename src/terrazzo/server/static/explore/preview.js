// Pictures that the server makes of items, fetched with the token that an <img> would not send.
import { at, fetched } from "./api.js";
import { el } from "./dom.js";

export async function preview(collection, item, about, size) {
  const address = at("collections", collection, "items", item, "preview");
  address.search = new URLSearchParams({ size });
  const answer = await fetched(address, { cache: "default", headers: { Accept: "image/png" } });
  const url = URL.createObjectURL(await answer.blob());
  const shown = el("img", { src: url, alt: about, onload: () => URL.revokeObjectURL(url) });
  const bands = answer.headers.get("X-Bands");
  if (bands) shown.dataset.bands = decodeURIComponent(bands);
  return shown;
}
