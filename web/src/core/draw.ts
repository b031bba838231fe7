/** Points, lines and polygons that a person draws, names, changes, deletes; GeoJSON in and out. */

import type { Feature as GeoFeature, FeatureCollection, Geometry } from "geojson";
import { containsExtent } from "ol/extent";
import Feature from "ol/Feature";
import GeoJSON from "ol/format/GeoJSON";
import type OlGeometry from "ol/geom/Geometry";
import DrawInteraction, { createBox } from "ol/interaction/Draw";
import Modify from "ol/interaction/Modify";
import Select from "ol/interaction/Select";
import Snap from "ol/interaction/Snap";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";

import { type Bounds, inWords } from "./backend";
import { button } from "./choice";
import { fill, h } from "./dom";
import { download } from "./download";
import { sizeOf } from "./measure";
import type { MapView } from "./map";
import { type Modes, onKeys, type Stop } from "./modes";
import { toDegrees } from "./projections";
import { fromText } from "./shapes";
import { drawnStyle, sketchStyle } from "./strokes";
import { Task } from "./task";

export type Shape = "Point" | "LineString" | "Polygon" | "Rectangle";

/** Something drawn, in degrees; its name is the property `name`. */
export type Drawn = GeoFeature<Geometry, { name: string } & Record<string, unknown>> & {
  id: string;
};

const SHAPES: Record<Shape, { title: string; hint: string }> = {
  Polygon: {
    title: "Polygon",
    hint: "Press for each corner; press twice at the last one. Backspace takes one back.",
  },
  Rectangle: { title: "Rectangle", hint: "Press at two opposite corners." },
  LineString: {
    title: "Line",
    hint: "Press for each point; press twice at the last one. Backspace takes one back.",
  },
  Point: { title: "Point", hint: "Press at the place." },
};

const EDIT = "edit";
const HISTORY = 50;
const EMPTY = "Nothing is drawn yet.";

export class Drawing {
  readonly element: HTMLElement;
  /** Called after every change, with all there is. */
  onchange: (drawn: FeatureCollection) => void = () => undefined;
  /** Called when one is finished or chosen from the list. */
  onchoose: (drawn: Drawn) => void = () => undefined;
  private readonly source = new VectorSource();
  private readonly layer: VectorLayer;
  private readonly hint = h("p", { class: "tz-note", "aria-live": "polite" });
  private readonly list = h("ul", { class: "tz-list" });
  private readonly task = new Task();
  private readonly undoing = button("Undo", () => this.undo());
  private readonly saving = button("Save as GeoJSON", () =>
    download(JSON.stringify(this.drawn), "drawn.geojson", "application/geo+json"),
  );
  private readonly typed = h("textarea", {
    rows: 3,
    spellcheck: false,
    placeholder: "7.61 45.05, 7.66 45.05, 7.66 45.09",
  });
  private readonly typedShape = h(
    "select",
    {},
    (["Polygon", "LineString", "Point"] as const).map((shape) =>
      h("option", { value: shape }, SHAPES[shape].title),
    ),
  );
  private readonly past: Drawn[][] = [];
  private items: Drawn[] = [];
  private chosen: string | undefined;
  private count = 0;
  private readonly unlisten: Stop;

  constructor(
    private readonly view: MapView,
    private readonly modes: Modes,
  ) {
    this.layer = new VectorLayer({
      source: this.source,
      zIndex: 8000,
      style: (feature) => drawnStyle(feature, feature.getId() === this.chosen),
    });
    this.layer.setMap(view.map);
    this.unlisten = view.onChange((what) => what === "projection" && this.redraw());
    this.element = h(
      "section",
      { class: "tz-tool tz-draw", "aria-label": "Draw" },
      h("h3", { class: "tz-title" }, "Draw"),
      h(
        "div",
        { class: "tz-row" },
        (Object.keys(SHAPES) as Shape[]).map((shape) => this.starter(shape)),
        this.editor(),
      ),
      this.hint,
      this.list,
      h("div", { class: "tz-row" }, this.undoing, this.saving, this.opener()),
      this.task.element,
      this.byText(),
    );
    this.show();
  }

  /** Everything that is drawn, in degrees. */
  get drawn(): FeatureCollection {
    return { type: "FeatureCollection", features: this.items.map((item) => ({ ...item })) };
  }

  /** Puts other features in place of what is drawn; nobody is told with `onchange`. */
  set drawn(collection: FeatureCollection) {
    this.items = collection.features.filter((one) => one.geometry).map((one) => this.named(one));
    this.past.length = 0;
    this.show();
  }

  /** Add a geometry in degrees. */
  add(geometry: Geometry, name?: string): Drawn {
    const drawn = this.named({ type: "Feature", geometry, properties: name ? { name } : {} });
    this.change([...this.items, drawn]);
    this.choose(drawn.id);
    return drawn;
  }

  /** Take one away; Undo brings it back. */
  remove(id: string): void {
    this.change(this.items.filter((item) => item.id !== id));
  }

  /** Take the last change back. */
  undo(): void {
    const before = this.past.pop();
    if (!before) return;
    this.items = before;
    this.told();
  }

  destroy(): void {
    this.modes.stop();
    this.unlisten();
    this.layer.setMap(null);
    this.element.remove();
  }

  private starter(shape: Shape): HTMLButtonElement {
    const start = button(SHAPES[shape].title);
    this.modes.bind(start, `draw-${shape}`, () => this.begin(shape));
    return start;
  }

  private begin(shape: Shape): Stop {
    const box = shape === "Rectangle";
    const draw = new DrawInteraction({
      type: box ? "Circle" : shape,
      style: sketchStyle,
      ...(box && { geometryFunction: createBox() }),
    });
    const snap = new Snap({ source: this.source });
    draw.on("drawend", (event) => {
      this.add(this.format.writeGeometryObject(event.feature.getGeometry()!, PRECISE) as Geometry);
      this.modes.finish(draw);
    });
    const unkey = onKeys(this.view.map, (key) => {
      if (key === "Backspace") draw.removeLastPoint();
      return key === "Backspace";
    });
    this.view.map.addInteraction(draw);
    this.view.map.addInteraction(snap);
    this.hint.textContent = `${SHAPES[shape].hint} Escape ends it.`;
    return () => {
      unkey();
      this.view.map.removeInteraction(snap);
      this.view.map.removeInteraction(draw);
      this.hint.textContent = this.items.length ? "" : EMPTY;
    };
  }

  private editor(): HTMLButtonElement {
    const start = button("Edit");
    this.modes.bind(start, EDIT, () => this.edit());
    return start;
  }

  private edit(): Stop {
    const select = new Select({ layers: [this.layer], style: null });
    const modify = new Modify({ source: this.source });
    const unkey = onKeys(this.view.map, (key) => {
      if (key !== "Delete" || !this.chosen) return false;
      this.remove(this.chosen);
      return true;
    });
    select.on("select", (event) => this.mark(event.selected[0]?.getId() as string | undefined));
    modify.on("modifyend", (event) => this.moved(event.features.getArray()));
    this.view.map.addInteraction(select);
    this.view.map.addInteraction(modify);
    this.hint.textContent =
      "Pull a corner or an edge; press a corner with Alt to take it away; " +
      "press a shape and then Delete to delete it. Escape ends it.";
    return () => {
      unkey();
      this.view.map.removeInteraction(modify);
      this.view.map.removeInteraction(select);
      this.hint.textContent = this.items.length ? "" : EMPTY;
    };
  }

  private moved(features: readonly Feature[]): void {
    const now = new Map(features.map((feature) => [feature.getId(), feature.getGeometry()]));
    this.change(
      this.items.map((item) => {
        const geometry = now.get(item.id);
        return geometry
          ? { ...item, geometry: this.format.writeGeometryObject(geometry, PRECISE) as Geometry }
          : item;
      }),
    );
  }

  private opener(): HTMLElement {
    const file = h("input", {
      type: "file",
      accept: ".geojson,.json,application/geo+json",
      class: "tz-hidden",
      tabIndex: -1,
      "aria-hidden": "true",
      onchange: () => {
        const [chosen] = file.files ?? [];
        file.value = "";
        if (chosen) void this.open(chosen);
      },
    });
    return h(
      "span",
      {},
      button("Open GeoJSON", () => file.click()),
      file,
    );
  }

  private async open(file: File): Promise<void> {
    try {
      const shapes = fromText(await file.text());
      this.change([...this.items, ...shapes.map((shape) => this.named(shape))]);
      this.task.say(`${shapes.length} from ${file.name}.`);
      this.fit(this.source.getExtent());
    } catch (error) {
      this.task.fail(new Error(`${file.name}: ${inWords(error)}`));
    }
  }

  private byText(): HTMLElement {
    const add = () => {
      try {
        const shapes = fromText(this.typed.value, this.typedShape.value as Shape);
        this.task.stop();
        for (const shape of shapes) this.add(shape.geometry, shape.properties?.["name"] as string);
        this.typed.value = "";
        this.fit(this.source.getExtent());
      } catch (error) {
        this.task.fail(error);
      }
    };
    return h(
      "details",
      { class: "tz-more" },
      h("summary", {}, "By coordinates"),
      h(
        "div",
        { class: "tz-fields" },
        h("label", { class: "tz-field" }, h("span", {}, "Shape"), this.typedShape),
        h(
          "label",
          { class: "tz-field tz-wide" },
          h("span", {}, "Longitude latitude, in degrees, with commas between; or GeoJSON"),
          this.typed,
        ),
      ),
      button("Add", add),
    );
  }

  private named(one: GeoFeature<Geometry, Record<string, unknown> | null>): Drawn {
    this.count += 1;
    const given = one.properties?.["name"];
    const name =
      typeof given === "string" && given ? given : `${SHORT[one.geometry.type]} ${this.count}`;
    const taken = one.id !== undefined && this.items.some((item) => item.id === String(one.id));
    const id = one.id === undefined || taken ? `drawn-${this.count}` : String(one.id);
    return { type: "Feature", id, geometry: one.geometry, properties: { ...one.properties, name } };
  }

  private change(items: Drawn[]): void {
    this.past.push(this.items);
    if (this.past.length > HISTORY) this.past.shift();
    this.items = items;
    this.told();
  }

  private told(): void {
    this.show();
    this.onchange(this.drawn);
  }

  private mark(id: string | undefined): void {
    this.chosen = id;
    this.layer.changed();
    this.showList();
  }

  private choose(id: string): void {
    this.mark(id);
    const drawn = this.items.find((item) => item.id === id);
    if (drawn) this.onchoose(drawn);
  }

  private show(): void {
    if (!this.items.some((item) => item.id === this.chosen)) this.chosen = undefined;
    this.redraw();
    this.showList();
    this.undoing.disabled = !this.past.length;
    this.saving.disabled = !this.items.length;
    if (!this.modes.name) this.hint.textContent = this.items.length ? "" : EMPTY;
  }

  private redraw(): void {
    const { format } = this;
    this.source.clear();
    this.source.addFeatures(
      this.items.map((item) => {
        const feature = new Feature<OlGeometry>(format.readGeometry(item.geometry) ?? undefined);
        feature.setProperties(item.properties, true);
        feature.setId(item.id);
        return feature;
      }),
    );
  }

  private showList(): void {
    fill(
      this.list,
      this.items.map((item) => this.row(item)),
    );
  }

  private row(item: Drawn): HTMLElement {
    const name = h("input", {
      type: "text",
      value: item.properties.name,
      "aria-label": `Name of ${item.properties.name}`,
      onchange: () => this.rename(item.id, name.value.trim() || item.properties.name),
    });
    const called = item.properties.name;
    return h(
      "li",
      { "aria-current": item.id === this.chosen ? "true" : undefined },
      name,
      h("span", { class: "tz-size" }, sizeOf(item.geometry)),
      h(
        "span",
        { class: "tz-row" },
        h(
          "button",
          {
            type: "button",
            class: "tz-button",
            "aria-label": `Choose ${called}`,
            onclick: () => this.goTo(item.id),
          },
          "Choose",
        ),
        h(
          "button",
          {
            type: "button",
            class: "tz-button",
            "aria-label": `Delete ${called}`,
            onclick: () => this.remove(item.id),
          },
          "Delete",
        ),
      ),
    );
  }

  private rename(id: string, name: string): void {
    this.change(
      this.items.map((item) =>
        item.id === id ? { ...item, properties: { ...item.properties, name } } : item,
      ),
    );
  }

  private goTo(id: string): void {
    this.choose(id);
    const extent = this.source.getFeatureById(id)?.getGeometry()?.getExtent();
    if (extent) this.fit(extent);
  }

  private fit(extent: number[] | null): void {
    if (!extent?.every(Number.isFinite)) return;
    if (containsExtent(this.view.bounds().bounds, extent)) return;
    this.view.fit(toDegrees(extent as Bounds, this.view.projection));
  }

  private get format(): GeoJSON {
    return new GeoJSON({
      dataProjection: "EPSG:4326",
      featureProjection: this.view.projection,
    });
  }
}

/** A centimetre; exterior rings against the clock, as RFC 7946 wants them. */
const PRECISE = { decimals: 7, rightHanded: true };

const SHORT: Record<Geometry["type"], string> = {
  Point: "Point",
  MultiPoint: "Points",
  LineString: "Line",
  MultiLineString: "Lines",
  Polygon: "Polygon",
  MultiPolygon: "Polygons",
  GeometryCollection: "Shapes",
};
