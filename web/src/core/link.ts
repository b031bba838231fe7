/** Two maps that move together. */

import type { MapView } from "./map";

/** Keep two maps at the same place, scale and projection; returns what lets them go. */
export function linkViews(a: MapView, b: MapView): () => void {
  let following = false;
  const follow = (leader: MapView, other: MapView) => () => {
    if (following) return;
    following = true;
    try {
      const { centre, zoom, projection } = leader.view;
      const there = other.view;
      if (projection !== there.projection || zoom !== there.zoom
        || centre[0] !== there.centre[0] || centre[1] !== there.centre[1]) {
        other.setView({ centre, zoom, projection });
      }
    } finally {
      following = false;
    }
  };
  const ends = [watch(a, follow(a, b)), watch(b, follow(b, a))];
  follow(a, b)();
  return () => ends.forEach((end) => end());
}

/** Be told of every frame of a movement, and of other projections. */
function watch(view: MapView, told: () => void): () => void {
  const moved = () => told();
  let current = view.map.getView();
  current.on("change", moved);
  const end = view.onChange((what) => {
    if (what !== "projection") return;
    current.un("change", moved);
    current = view.map.getView();
    current.on("change", moved);
    told();
  });
  return () => {
    end();
    current.un("change", moved);
  };
}
