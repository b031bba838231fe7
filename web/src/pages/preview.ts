/** Pictures that the server makes of items, fetched with the token that an <img> would not send. */
import { h } from "../core/dom";
import { at, fetched, withQuery, type Document } from "../http/server";
import { object } from "./content";

export async function preview(collection: string, item: string, about: string, size: number): Promise<HTMLImageElement> {
  const address = withQuery(at("collections", collection, "items", item, "preview"), { size });
  const answer = await fetched(address, { cache: "default", headers: { Accept: "image/png" } });
  const url = URL.createObjectURL(await answer.blob());
  const shown = h("img", { src: url, alt: about, onload: () => URL.revokeObjectURL(url) });
  const bands = answer.headers.get("X-Bands");
  if (bands) shown.dataset.bands = decodeURIComponent(bands);
  return shown;
}

/** Whether an item has anything that there could be a picture of. */
export const hasFiles = (item: Document): boolean => Object.keys(object(item.assets)).length > 0;

/** Puts a picture into a place once the place is seen. */
export function whenSeen(place: HTMLElement, picture: () => Promise<HTMLElement>): void {
  new IntersectionObserver(async (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    try {
      place.append(await picture());
    } catch {
      place.classList.add("none");
    }
  }).observe(place);
}
