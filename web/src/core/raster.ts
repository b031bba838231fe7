/** A raster layer: a graph, computed where somebody looks. */

import OlTileLayer from "ol/layer/Tile";
import type ImageTileSource from "ol/source/ImageTile";

import {
  type About, type Backend, type Bounds, type JsonObject, type Legend, type Look, type Opened,
  type Picture, type Progress, type Source, inWords, isAbort,
} from "./backend";
import { MapLayer } from "./layer";
import { registerNative } from "./projections";
import type { RasterState } from "./state";
import { absolute } from "./look";
import { TileSource, type Wanted, tilesFor } from "./tiles";

/** How many tiles are kept decoded: two screens of 4k; 256 kB each. */
const KEPT_TILES = 256;

export class RasterLayer extends MapLayer {
  readonly kind = "raster";
  readonly ol: OlTileLayer<ImageTileSource>;
  readonly backend: Backend;
  readonly about: About;
  readonly source: JsonObject;
  #look: Look;
  #tiles: TileSource;
  #projection = "EPSG:3857";
  #legend: Legend | null;
  #asking: AbortController | null = null;
  #pinned: boolean;

  /**
   * @param opened what `open` answered.
   * @param state what it was opened with, and how it is shown.
   */
  constructor(backend: Backend, opened: Opened, state: RasterState) {
    super(state);
    this.backend = backend;
    this.about = opened;
    this.source = state.source;
    this.#look = state.look;
    this.#pinned = state.pinned ?? false;
    this.#legend = opened.legend ?? null;
    if (opened.native) registerNative(opened.native);
    this.#tiles = this.#source();
    this.ol = new OlTileLayer({
      source: this.#tiles, cacheSize: KEPT_TILES, ...this.shown,
    });
    if (Object.keys(state.look).length) void this.#askLegend();
  }

  /** Open a graph and make a layer of it. */
  static async open(
    backend: Backend, state: RasterState, signal?: AbortSignal,
  ): Promise<RasterLayer> {
    const opened = await backend.ask<Opened>("open", null, state.source, signal);
    return new RasterLayer(backend, opened, state);
  }

  /** What `backend` calls it. */
  get id(): string {
    return this.about.id;
  }

  get look(): Look {
    return this.#look;
  }

  set look(look: Look) {
    const before = timeless(this.#look);
    this.#look = look;
    this.#tiles.show(absolute(look));
    this.setError(null);
    this.changed("look");
    if (timeless(look) !== before) void this.#askLegend();
  }

  /** The unit of the values that colours stand for, if they have one. */
  get unit(): string | null {
    const shown = this.#look.bands ?? this.about.shown?.bands ?? [];
    return this.about.bands.find((band) => band.name === shown[0])?.unit || null;
  }

  /** The date that is shown; null without dates. */
  get time(): string | null {
    return this.#look.time ?? this.about.shown?.time ?? this.about.dates.at(-1) ?? null;
  }

  set time(time: string | null) {
    const { time: _, ...rest } = this.#look;
    this.look = time === null ? rest : { ...rest, time };
  }

  /** Whether the date stays, whatever the time slider shows. */
  get pinned(): boolean {
    return this.#pinned;
  }

  set pinned(pinned: boolean) {
    this.#pinned = pinned;
    this.changed("look");
  }

  /** Metres a pixel that what is on the screen was computed at; null before the first tile. */
  get resolution(): number | null {
    return this.#tiles.resolution;
  }

  override get bounds(): Bounds | null {
    return this.about.bounds;
  }

  override get sources(): string[] {
    return (this.about.sources ?? []).map(nameOf).filter((name) => name !== "");
  }

  /** The legend of the look, once it has come: `onChange` tells when. */
  override legend(): Legend | null {
    return this.#legend;
  }

  /** Anything that the layer can be asked (see `Method`). */
  ask<T>(method: "statistics" | "values" | "profile" | "transect", params: object,
    signal?: AbortSignal): Promise<T> {
    return this.backend.ask<T>(method, this.id, params, signal);
  }

  picture(
    method: "picture" | "timelapse", params: object, signal?: AbortSignal, progress?: Progress,
  ): Promise<Picture> {
    return this.backend.picture(method, this.id, params, signal, progress);
  }

  override setProjection(code: string): void {
    if (code === this.#projection) return;
    this.#projection = code;
    this.#tiles.abort();
    this.#tiles = this.#source();
    this.ol.setSource(this.#tiles);
    this.setError(null);
  }

  /** Stop what is on its way and not wanted on the screen any more. */
  keepOnly(wanted: Wanted): void {
    this.#tiles.keepOnly(wanted);
  }

  override state(): RasterState {
    return { ...this.common(), kind: "raster", source: this.source, look: this.#look,
      ...(this.#pinned ? { pinned: true } : {}) };
  }

  override copy(): RasterLayer {
    return new RasterLayer(this.backend, this.about, this.state());
  }

  override destroy(): void {
    this.#asking?.abort();
    this.#tiles.abort();
    super.destroy();
  }

  async #askLegend(): Promise<void> {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      const look = absolute(this.#look);
      const legend = await this.backend.ask<Legend>("legend", this.id, { look }, asking.signal);
      if (asking.signal.aborted) return;
      this.#legend = legend;
      this.changed("legend");
    } catch (error) {
      if (!isAbort(error)) this.setError(inWords(error));
    }
  }

  #source(): TileSource {
    return new TileSource({
      ...tilesFor(this.about, this.#projection),
      look: absolute(this.#look),
      ask: (params, signal) => "crs" in params
        ? this.backend.picture("picture", this.id, params, signal)
        : this.backend.picture("tile", this.id, params, signal),
      came: () => this.changed("resolution"),
      failed: (error) => this.setError(error === null ? null : inWords(error)),
    });
  }
}

/** What of a look its legend depends on. */
function timeless({ time: _, ...look }: Look): string {
  return JSON.stringify(absolute(look));
}

function nameOf(source: Source): string {
  return source.attribution || source.title || source.id || "";
}
