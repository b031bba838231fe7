/** What the page and the kernel tell each other of the screen: only what has changed. */

import type { LayerState, ScreenState } from "../core/state";

type Members = Pick<ScreenState, "view" | "basemap" | "swipe" | "time" | "extra">;
const MEMBERS = ["view", "basemap", "swipe", "time", "extra"] as const;

/**
 * Members of a screen with new values. Layers that the order does not name, because whoever gave it
 * did not know them yet, stay on top.
 */
export interface Patch extends Partial<Members> {
  layers?: { set?: Record<string, Partial<LayerState>>; gone?: string[]; order?: string[] };
}

/** What has to be told so that `before` becomes `after`; null: nothing. */
export function difference(before: ScreenState, after: ScreenState): Patch | null {
  const patch: Patch = {};
  for (const name of MEMBERS) {
    if (!same(before[name], after[name])) Object.assign(patch, { [name]: after[name] });
  }
  const known = new Map(before.layers.map((layer) => [layer.key, layer]));
  const set: Record<string, Partial<LayerState>> = {};
  for (const layer of after.layers) {
    const changed = members(known.get(layer.key), layer);
    if (changed) set[layer.key] = changed;
  }
  const order = after.layers.map((layer) => layer.key);
  const gone = [...known.keys()].filter((key) => !order.includes(key));
  const stay = [...known.keys()].filter((key) => order.includes(key));
  const moved = !same(stay, order);
  if (moved || gone.length || Object.keys(set).length) {
    patch.layers = {
      ...(Object.keys(set).length && { set }), ...(gone.length && { gone }), ...(moved && { order }),
    };
  }
  return Object.keys(patch).length ? patch : null;
}

function members(before: LayerState | undefined, after: LayerState): Partial<LayerState> | null {
  if (!before) return after;
  const changed = Object.entries(after).filter(
    ([name, value]) => !same((before as unknown as Record<string, unknown>)[name], value));
  return changed.length ? (Object.fromEntries(changed) as Partial<LayerState>) : null;
}

/** A screen with a change. */
export function merged(state: ScreenState, patch: Patch): ScreenState {
  const made = { ...state };
  for (const name of MEMBERS) {
    if (name in patch) Object.assign(made, { [name]: patch[name] });
  }
  if (!patch.layers) return made;
  const layers = new Map(state.layers.map((layer) => [layer.key, layer]));
  for (const [key, changed] of Object.entries(patch.layers.set ?? {})) {
    const known = layers.get(key);
    if (known || "kind" in changed) layers.set(key, { ...known, ...changed, key } as LayerState);
  }
  for (const key of patch.layers.gone ?? []) layers.delete(key);
  const order = new Set([...(patch.layers.order ?? []), ...layers.keys()]);
  made.layers = [...order].flatMap((key) => layers.get(key) ?? []);
  return made;
}

function same(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
