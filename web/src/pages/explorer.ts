/** The explorer: finds scenes, shows them, computes with them, on one map. */
import { assetsBeside } from "../core/basemap";
import type { FeatureCollection } from "geojson";
import { BackendError, isAbort, type JsonObject } from "../core/backend";
import { RasterLayer } from "../core/raster";
import { mountScreen, type Screen } from "../core/screen";
import { emptyState, encodeState } from "../core/state";
import { HttpBackend } from "../http/backend";
import { JobExporter } from "../http/jobs";
import { words } from "../http/server";
import { account } from "./account";
import { collections, type Collection } from "./explorer/collections";
import { Find } from "./explorer/find";
import { Jobs } from "./explorer/jobs";
import { Processing, services, type Service } from "./explorer/processing";
import { share } from "./explorer/share";
import { isSeen, type Stage, type Wish } from "./explorer/stage";
import { asked, fragmentOf, type Asked } from "./explorer/start";

/** Narrower than this, panels cover the map, so that none is open at first. */
const WIDE = 720;
/** After the last change, milliseconds, the address tells what is shown. */
const QUIET = 500;
/** Letters of what an address tells of the screen: longer ones are cut off by programs that pass them on. */
const LONGEST = 6000;

const NOT_YOURS = "There is no such map, or it is not for everybody. Log in if it is yours; whoever sent you the address can give you one with a key.";

class Explorer implements Stage {
  readonly screen: Screen;
  first: string | null = null;
  readonly #find: Find;
  readonly #processing: Processing;
  readonly #jobs: Jobs;
  #ids: string[] = [];
  #written = "";
  #count = 0;
  /** Whether the address has said what all of the screen is. */
  #stated = false;

  constructor(element: HTMLElement, backend: HttpBackend, private readonly beginning: Promise<Service | undefined>) {
    const exporter = new JobExporter(() => void this.#jobs.refresh());
    // What lies below comes after what is looked for.
    const state = { ...emptyState(), basemap: "none" };
    this.screen = mountScreen(element, { backend, assets: assetsBeside(import.meta.url), exporter, state });
    this.#find = new Find(this);
    this.#processing = new Processing(this, () => this.#ids);
    this.#jobs = new Jobs(this, () => this.screen.exporting?.open());
    const panel = { find: { opened: () => { this.#find.outlined = true; this.#lookOnce(); }, closed: () => { this.#find.outlined = false; } }, processing: { opened: () => void this.#processing.refresh() }, jobs: { opened: () => void this.#jobs.refresh() } };
    this.screen.addPanel({ name: "find", title: "Find scenes", icon: "search", element: this.#find.element, ...panel.find }, 0);
    this.screen.addPanel({ name: "processing", title: "Saved processing", icon: "process", element: this.#processing.element, ...panel.processing });
    this.screen.addPanel({ name: "jobs", title: "Jobs", icon: "jobs", element: this.#jobs.element, ...panel.jobs });
  }

  get view(): Screen["view"] {
    return this.screen.view;
  }

  async open(wish: Wish, instead: string | null = null): Promise<RasterLayer> {
    const before = instead === null ? undefined : this.view.layer(instead);
    this.#count += 1;
    const { place, ...told } = wish;
    const state = { kind: "raster", key: `${Date.now().toString(36)}-${this.#count}`, visible: true, opacity: before?.opacity ?? 1, ...told } as const;
    const layer = (await this.screen.add(state, undefined, (opened) => {
      if (opened instanceof RasterLayer && opened.about.look && !Object.keys(wish.look).length) opened.look = opened.about.look;
      const box = place === undefined ? opened.bounds : place;
      if (box && !isSeen(this.view, box)) this.view.fit(box);
    })) as RasterLayer;
    if (before) this.#replace(before.key, layer);
    return layer;
  }

  async features({ id, title, box }: Collection, color: string): Promise<void> {
    this.#count += 1;
    const key = `${Date.now().toString(36)}-${this.#count}`;
    await this.screen.add({ kind: "features", key, name: title, visible: true, opacity: 1, source: id, bounds: box, color, attribution: title });
    if (box && !isSeen(this.view, box)) this.view.fit(box);
  }

  compare(left: string, right: string): void {
    this.screen.compare.state = { mode: "swipe", position: 0.5, left: [left], right: [right] };
  }

  drawn(): JsonObject | null {
    const { drawn } = this.screen.drawing;
    return drawn.features.length ? (drawn as unknown as JsonObject) : null;
  }

  /** Shows what the address asks for, and says so on the document. */
  async begin(hash: string): Promise<void> {
    try {
      await this.#show(await asked(hash));
    } catch (error) {
      if (!isAbort(error)) this.screen.tell(words(error));
    }
    if (this.screen.basemap.name === "none" && !this.#stated) await this.screen.basemap.show(emptyState().basemap);
    await this.view.settled();
    document.documentElement.dataset.loaded = "explorer";
    if (innerWidth >= WIDE && this.screen.side.current === null) this.screen.side.open("find");
    this.#keepAddress();
  }

  /** Somebody has logged in or out: other things are there. */
  async again(): Promise<void> {
    const state = this.screen.state;
    this.#looked = false;
    if (this.screen.side.current === "find") this.#lookOnce();
    if (this.screen.side.current === "processing") void this.#processing.refresh();
    if (this.screen.side.current === "jobs") void this.#jobs.refresh();
    await this.screen.show(state);
  }

  /** The address of what is shown now. */
  async address(): Promise<string> {
    const here = new URL(location.href);
    here.hash = await this.#fragment();
    return here.href;
  }

  /** What is drawn goes along, unless the address would become too long to be sent. */
  async #fragment(): Promise<string> {
    const { state } = this.screen, { drawn } = this.screen.drawing;
    const whole = drawn.features.length ? { ...state, extra: { ...state.extra, drawn: drawn as unknown as JsonObject } } : state;
    const encoded = await encodeState(whole);
    return fragmentOf(encoded.length <= LONGEST ? encoded : await encodeState(state));
  }

  #looked = false;

  /** The collections are asked for when somebody looks for scenes, not before the map is there. */
  #lookOnce(then: () => void = () => void this.#find.look()): void {
    if (this.#looked) return;
    this.#looked = true;
    collections().then(({ scenes, geometries }) => {
      this.#ids = scenes.map((one) => one.id);
      this.#find.offer(scenes, geometries);
      then();
    }, (error: unknown) => {
      this.#looked = false;
      this.screen.tell(words(error));
    });
  }

  async #show(wanted: Asked): Promise<void> {
    switch (wanted.kind) {
      case "state": {
        this.#stated = true;
        const { drawn, ...extra } = wanted.state.extra;
        await this.screen.show({ ...wanted.state, extra });
        if (drawn) this.screen.drawing.drawn = drawn as unknown as FeatureCollection;
        return;
      }
      case "collection":
        return this.#collection(wanted.id, wanted.item);
      case "service":
        return this.#open(sourceOf(wanted.id, wanted.key), "");
      default: {
        const found = await this.beginning;
        if (found) {
          await this.#open(sourceOf(found.id, null), found.title);
          this.first = this.view.layers.at(-1)?.key ?? null;
          return;
        }
        if (innerWidth >= WIDE) this.screen.side.open("find");
      }
    }
  }

  async #open(source: JsonObject, title: string): Promise<void> {
    const layer = await this.open({ name: title || "Service", source, look: {} }).catch((error: unknown) => {
      throw error instanceof BackendError && error.code === "ServiceNotFound" ? new Error(NOT_YOURS) : error;
    });
    if (!title && layer.about.title) layer.name = layer.about.title;
  }

  #collection(id: string, item: string | null): Promise<void> {
    return new Promise((done) => {
      this.#looked = false;
      this.#lookOnce(() => void (item === null ? this.#find.showNewest(id) : this.#find.showItem(id, item)).then(done));
      if (innerWidth >= WIDE) this.screen.side.open("find");
    });
  }

  #replace(key: string, layer: RasterLayer): void {
    const place = this.view.layers.findIndex((one) => one.key === key);
    const before = this.view.layer(key);
    if (!before) return;
    const compared = this.screen.compare.state;
    this.view.move(layer, place);
    this.view.remove(before);
    if (!compared) return;
    const renamed = (keys: string[]) => keys.map((one) => (one === key ? layer.key : one));
    this.screen.compare.state = { ...compared, left: renamed(compared.left), right: renamed(compared.right) };
  }

  /** The address follows what is shown, so that it can be sent to somebody or kept. */
  #keepAddress(): void {
    let timer = 0;
    const write = async () => {
      this.#written = await this.#fragment();
      history.replaceState(null, "", this.#written);
    };
    const later = () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => void write(), QUIET);
    };
    this.screen.onChange(later);
    this.screen.drawing.onchange = later;
    addEventListener("hashchange", () => {
      if (location.hash && location.hash !== this.#written) {
        asked(location.hash).then((wanted) => this.#show(wanted)).catch((error: unknown) => this.screen.tell(words(error)));
      }
    });
  }
}

const sourceOf = (id: string, key: string | null): JsonObject => ({ service: { id, ...(key === null ? {} : { key }) } });

const backend = new HttpBackend();
const first = location.hash ? Promise.resolve(undefined) : services().then(([one]) => {
  if (one) backend.ahead(sourceOf(one.id, null));
  return one;
});
first.catch(() => undefined);  // told when the screen is there
const explorer = new Explorer(document.getElementById("explorer")!, backend, first);
account(document.getElementById("account") as HTMLButtonElement, () => void explorer.again());
share(document.getElementById("share") as HTMLButtonElement, () => explorer.address());
void explorer.begin(location.hash);
