/** A page with every tool beside one map, over made-up data. */

import { button } from "../../src/core/choice";
import { h } from "../../src/core/dom";
import { Drawing } from "../../src/core/draw";
import { Export, type Exporter } from "../../src/core/export";
import { Histogram } from "../../src/core/histogram";
import { Inspect } from "../../src/core/inspect";
import { MapView } from "../../src/core/map";
import { Measure, measured } from "../../src/core/measure";
import { Modes } from "../../src/core/modes";
import { PictureSaver } from "../../src/core/picture";
import { Places } from "../../src/core/places";
import { Profile } from "../../src/core/profile";
import { exportGraph } from "../../src/core/jobgraph";
import { RasterLayer } from "../../src/core/raster";
import { Timelapse } from "../../src/core/timelapse";
import { Transect } from "../../src/core/transect";
import { asked, FakeBackend, refuse } from "./backend";

const started: object[] = [];
const exporter: Exporter = {
  start: ({ source, area, date, format }) => {
    started.push(exportGraph(source, area, date, format));
    return Promise.resolve("job-1");
  },
  stop: () => Promise.resolve(),
  follow: async (_, tell, signal) => {
    for (let progress = 0; progress < 100 && !signal.aborted; progress += 20) {
      tell({ status: "running", progress });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return {
      status: "finished",
      progress: 100,
      files: [{ name: "2024-06-21.tif", bytes: 12_400_000, save: () => Promise.resolve() }],
    };
  },
};

const place = h("div", { class: "harness-map" });
const panels = h("div", { class: "harness-panels" });
document.getElementById("screen")!.append(place, panels);
const backend = new FakeBackend();
const view = new MapView(place, backend, { centre: [21.2, 45.75], zoom: 10 });
const modes = new Modes(document.body);
for (const name of ["NDVI", "Soil moisture of the upper layer, modelled"]) {
  const source = {
    title: name,
    process_graph: { load: { process_id: "load_collection", arguments: {}, result: true } },
  };
  view.add(
    await RasterLayer.open(backend, {
      kind: "raster",
      key: name,
      name,
      visible: true,
      opacity: name === "NDVI" ? 0.5 : 1,
      source,
      look: {},
    }),
  );
}
const inspect = new Inspect(view, modes);
const drawing = new Drawing(view, modes);
const measure = new Measure(view, modes);
const profile = new Profile(view);
const histogram = new Histogram(view);
const transect = new Transect(view, modes);
const places = new Places(view);
const saver = new PictureSaver(view);
const timelapse = new Timelapse(view);
const exporting = new Export(view, exporter);
drawing.onchoose = ({ geometry, properties }) => {
  if (geometry.type === "LineString") transect.show(geometry);
  else profile.show(geometry, properties.name);
};
panels.append(
  places.element,
  inspect.button,
  h("section", { "aria-label": "Values at a place" }, inspect.element),
  drawing.element,
  measure.element,
  profile.element,
  histogram.element,
  transect.element,
  saver.element,
  button("Time-lapse", () => timelapse.open()),
  button("Export", () => exporting.open()),
  timelapse.element,
  exporting.element,
);
histogram.refresh();
Object.assign(window, { asked, refuse, started, measured, view, histogram });
document.body.dataset["ready"] = "yes";
