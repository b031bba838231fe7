/** What the explorer shows first: what its address says, or something that is there. */
import type { ScreenState } from "../../core/state";
import { decodeState } from "../../core/state";

/** What an address asks for. */
export type Asked =
  | { kind: "state"; state: ScreenState }
  | { kind: "service"; id: string; key: string | null }
  | { kind: "collection"; id: string; item: string | null }
  | { kind: "nothing" };

const STATE = "map=";

/** The fragment of an address that holds a whole screen. */
export const fragmentOf = (encoded: string): string => `#${STATE}${encoded}`;

/**
 * Reads the fragment of an address: `#map=STATE`, `#collection=ID&item=ID`, or the id of a service with
 * its key (`#ID?key=KEY`), as the links of services have it.
 *
 * @throws StateInvalid the state is cut off or damaged.
 */
export async function asked(hash: string): Promise<Asked> {
  const fragment = hash.replace(/^#/, "");
  if (fragment.startsWith(STATE)) return { kind: "state", state: await decodeState(fragment.slice(STATE.length)) };
  const named = new URLSearchParams(fragment);
  const collection = named.get("collection");
  if (collection) return { kind: "collection", id: collection, item: named.get("item") };
  const [id, query] = fragment.split("?");
  if (!id) return { kind: "nothing" };
  return { kind: "service", id: decodeURIComponent(id), key: new URLSearchParams(query).get("key") };
}
