/** Maps of one page that show the same place; each has its own copy of this code. */

import type { MapView } from "../core/map";

type Links = Map<string, Set<MapView>>;

/** What all copies on a page share. */
function links(): Links {
  const shared = globalThis as typeof globalThis & { terrazzoLinks?: Links };
  shared.terrazzoLinks ??= new Map<string, Set<MapView>>();
  return shared.terrazzoLinks;
}

/** Let a map follow the others of a link, and they it; what is returned ends that. */
export function join(name: string, view: MapView): () => void {
  const group = links().get(name) ?? new Set<MapView>();
  links().set(name, group);
  const first = [...group][0];
  if (first) follow(view, first);
  group.add(view);
  const unlisten = view.onChange((what) => {
    if (what === "moved") for (const other of group) if (other !== view) follow(other, view);
  });
  return () => {
    unlisten();
    group.delete(view);
    if (!group.size) links().delete(name);
  };
}

/** Half a millionth of a degree, and of a zoom level: what is nearer is the same place. */
const NEAR = 5e-7;

function follow(view: MapView, leader: MapView): void {
  const there = leader.view;
  const here = view.view;
  const near = Math.abs(here.zoom - there.zoom) < NEAR
    && here.centre.every((one, i) => Math.abs(one - there.centre[i]!) < NEAR);
  if (!near) view.setView({ ...there, projection: here.projection });
}
