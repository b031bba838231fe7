// A plain map of footprints: land, a graticule, outlines. Longitude and latitude are drawn as they
// are, longitude shortened as it is in the middle of what is shown first.
import { around, asked, degrees, footprint, lonInside } from "./bounds.js";
import { el, svg } from "./dom.js";

const STEPS = [45, 30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const DEEPEST = 5e-7;  // degrees per pixel
const LAND = new URL("land.json", import.meta.url);
const WORLD = [-180, -60, 180, 75];
let land = null;

// The outlines of the land, as the path of an SVG; steps of 1/20 degree, each from the one before.
async function landPath() {
  const answer = await fetch(LAND);
  const { rings, unit } = await answer.json();
  return rings.map((ring) => {
    let path = "", x = 0, y = 0;
    for (let i = 0; i < ring.length; i += 2) {
      x += ring[i]; y += ring[i + 1];
      path += `${i ? "L" : "M"}${+(x * unit).toFixed(2)} ${+(-y * unit).toFixed(2)}`;
    }
    return `${path}Z`;
  }).join("");
}

const pathOf = (rings) => rings.map((ring) => ring.map(([lon, lat], i) =>
  `${i ? "L" : "M"}${lon} ${-lat}`).join("") + (ring.length === 1 ? "h0" : ring.length > 3 ? "Z" : "")).join("");

export class FootprintMap {
  // about: what a reader of the screen is told; onpick, onhover: called with a key or null;
  // onbox: called with west, south, east, north once somebody has drawn a box.
  // least: degrees of latitude or so that are shown at first, however small what is there.
  constructor(about, { onpick, onhover, onbox, least = 0.002 } = {}) {
    Object.assign(this, { onpick, onhover, onbox, least });
    this.lon = 0; this.lat = 10; this.scale = 0.5; this.squeeze = 1;  // degrees of latitude per pixel
    this.shapes = new Map();
    this.pointers = new Map();
    this.land = svg("path", { class: "land" });
    this.lines = svg("path", { class: "lines" });
    this.outlines = svg("g", {});
    this.box = svg("path", { class: "box" });
    this.below = svg("g", {}, this.land);
    this.above = svg("g", {}, this.outlines, this.box);
    this.names = svg("g", { class: "names", "aria-hidden": "true" });
    this.svg = svg("svg", { role: "img", "aria-label": about }, this.below, this.lines, this.above, this.names);
    this.seen = svg("path", { class: "seen" });
    this.globe = svg("path", { class: "land" });
    this.locator = svg("svg", { class: "locator", viewBox: "-180 -84 360 144", "aria-hidden": "true" }, this.globe, this.seen);
    const button = (name, label, action) => el("button", { type: "button", "aria-label": label, title: label, onclick: action }, name);
    this.drawing = onbox && button("▭", "Draw a box", () => this.draw(!this.isDrawing));
    this.host = el("div", { class: "map", tabindex: "0", role: "group", "aria-label": `${about} Arrow keys move it, plus and minus zoom.` },
      this.svg, this.locator,
      el("div", { class: "tools" }, button("+", "Zoom in", () => this.zoom(2)), button("−", "Zoom out", () => this.zoom(0.5)),
        button("□", "Show all", () => this.fit(this.whole)), this.drawing || null));
    this.whole = WORLD;
    this.listen();
    new ResizeObserver(() => (this.fitted ? this.fit(this.fitted) : this.redraw())).observe(this.host);
    land ??= landPath();
    land.then((path) => {
      this.globe.setAttribute("d", path);
      this.land.setAttribute("d", path);
      const copies = [-360, 360].map((turn) => svg("path", { class: "land", d: path, transform: `translate(${turn} 0)` }));
      this.below.append(...copies);
    }).catch(() => {});
  }

  // Features are GeoJSON; the key of one is its place in the list.
  show(features) {
    this.shapes.clear();
    const known = features.map((feature, key) => [key, footprint(feature)]).filter(([, found]) => found);
    const { box, turns } = around(known.map(([, found]) => found.box));
    for (const [i, [key, { rings, box: own }]] of known.entries()) {
      const turn = turns[i];
      const shape = svg("path", {
        class: "footprint", d: pathOf(rings), transform: turn ? `translate(${turn} 0)` : null,
        onpointerenter: () => this.onhover?.(key), onpointerleave: () => this.onhover?.(null),
      });
      shape.dataset.key = key;
      this.shapes.set(key, { shape, box: [own[0] + turn, own[1], own[2] + turn, own[3]] });
    }
    // Small ones last, so that large ones do not cover them.
    const area = ([w, s, e, n]) => (e - w) * (n - s);
    const order = [...this.shapes.values()].sort((a, b) => area(b.box) - area(a.box));
    this.outlines.replaceChildren(...order.map(({ shape }) => shape));
    this.outlines.classList.toggle("many", order.length > 4);
    this.whole = box ?? WORLD;
    this.fit(this.whole);
  }

  mark(key, name) {
    for (const { shape } of this.shapes.values()) shape.classList.remove(name);
    this.shapes.get(key)?.shape.classList.add(name);
  }

  goTo(key) {
    const found = this.shapes.get(key);
    if (found) this.fit(found.box);
  }

  // A box that was asked for, drawn as it is; null for none.
  ask(box) {
    this.asked = box;
    const [w, s, e, n] = box ?? [];
    this.box.setAttribute("d", box ? pathOf([[[w, s], [e, s], [e, n], [w, n]]]) : "");
  }

  fit(box) {
    this.fitted = box;
    const { width, height } = this.size();
    if (!width) return;
    const [west, south, east, north] = box;
    this.lon = (west + east) / 2;
    this.lat = (south + north) / 2;
    this.squeeze = Math.max(Math.cos(this.lat * Math.PI / 180), 0.05);
    const pad = Math.min(width, height) < 300 ? 24 : 60;
    const needed = Math.max((north - south) / Math.max(height - pad, 50), (east - west) * this.squeeze / Math.max(width - pad, 50));
    // A single point, or something very small, is shown with what is around it.
    this.scale = this.bounded(Math.max(needed, this.least / width));
    this.redraw();
  }

  size() { return this.host.getBoundingClientRect(); }
  bounded(scale) { return Math.max(DEEPEST, Math.min(360 / Math.max(this.size().width, 200), scale)); }

  at(px, py) {
    const { width, height } = this.size();
    return [this.lon + (px - width / 2) * this.scale / this.squeeze, this.lat - (py - height / 2) * this.scale];
  }

  zoom(times, px, py) {
    const { width, height } = this.size();
    const before = this.at(px ?? width / 2, py ?? height / 2);
    this.scale = this.bounded(this.scale / times);
    const now = this.at(px ?? width / 2, py ?? height / 2);
    this.lon += before[0] - now[0];
    this.lat += before[1] - now[1];
    this.fitted = null;
    this.redraw();
  }

  pan(dx, dy) {
    this.lon -= dx * this.scale / this.squeeze;
    this.lat = Math.max(-90, Math.min(90, this.lat + dy * this.scale));
    this.fitted = null;
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.drawn(); });
  }

  drawn() {
    const { width, height } = this.size();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const placed = `translate(${width / 2} ${height / 2}) `
      + `scale(${this.squeeze / this.scale} ${1 / this.scale}) translate(${-this.lon} ${this.lat})`;
    for (const part of [this.below, this.above]) part.setAttribute("transform", placed);
    for (const { shape, box } of this.shapes.values()) {
      shape.classList.toggle("tiny", Math.max((box[2] - box[0]) * this.squeeze, box[3] - box[1]) < 5 * this.scale);
    }
    this.graticule(width, height);
    const [west, north] = this.at(0, 0), [east, south] = this.at(width, height);
    this.locator.classList.toggle("away", east - west > 120);
    const [x, y] = [lonInside(this.lon), -this.lat];
    const wide = Math.max((east - west) / 2, 4), high = Math.max((north - south) / 2, 4);
    this.seen.setAttribute("d", `M${x - wide} ${y - high}h${2 * wide}v${2 * high}h${-2 * wide}Z`);
  }

  graticule(width, height) {
    const [west, north] = this.at(0, 0), [east, south] = this.at(width, height);
    const step = STEPS.findLast((one) => one * this.squeeze / this.scale >= 90 && one / this.scale >= 60) ?? STEPS[0];
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    let path = "";
    const names = [];
    const name = (x, y, words, anchor) => names.push(svg("text", { x, y, "text-anchor": anchor }, words));
    for (let i = Math.ceil(west / step); i * step <= east; i++) {
      const x = Math.round((i * step - this.lon) * this.squeeze / this.scale + width / 2) + 0.5;
      path += `M${x} 0V${height}`;
      if (x > 30 && x < width - 80) name(x + 4, 14, degrees(lonInside(i * step), "E", "W", digits), "start");
    }
    for (let i = Math.ceil(Math.max(south, -90) / step); i * step <= Math.min(north, 90); i++) {
      const y = Math.round((this.lat - i * step) / this.scale + height / 2) + 0.5;
      path += `M0 ${y}H${width}`;
      if (y > 30 && y < height - 6) name(4, y - 4, degrees(i * step, "N", "S", digits), "start");
    }
    this.lines.setAttribute("d", path);
    this.names.replaceChildren(...names);
  }

  draw(on) {
    this.isDrawing = on;
    this.host.classList.toggle("drawing", on);
    this.drawing.setAttribute("aria-pressed", on);
  }

  listen() {
    const place = (event) => {
      const { left, top } = this.size();
      return [event.clientX - left, event.clientY - top];
    };
    this.host.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== this.host) return;  // the page scrolls
      event.preventDefault();
      this.zoom(2 ** (-event.deltaY * (event.deltaMode ? 30 : 1) / 300), ...place(event));
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.svg.setPointerCapture(event.pointerId);
      this.host.focus({ preventScroll: true });
      this.moved = 0;
      this.hit = event.target.dataset.key;
      this.begun = this.isDrawing || (this.onbox && event.shiftKey) ? this.at(...place(event)) : null;
      this.pointers.set(event.pointerId, place(event));
    });
    this.svg.addEventListener("pointermove", (event) => this.move(event.pointerId, place(event)));
    this.svg.addEventListener("pointerup", (event) => {
      if (!this.pointers.delete(event.pointerId)) return;
      if (this.begun && this.moved > 4) this.onbox(asked(this.asked));
      else if (this.moved < 5) this.onpick?.(this.hit === undefined ? null : Number(this.hit));
      this.begun = null;
      if (this.isDrawing) this.draw(false);
    });
    this.svg.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    this.host.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => this.pan(60, 0), ArrowRight: () => this.pan(-60, 0),
        ArrowUp: () => this.pan(0, 60), ArrowDown: () => this.pan(0, -60),
        "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5),
      };
      if (event.target !== this.host || !actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  move(id, now) {
    const before = this.pointers.get(id);
    if (!before) return;
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    this.pointers.set(id, now);
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (this.begun) {
      const [lon, lat] = this.at(...now), [fromLon, fromLat] = this.begun;
      this.ask([Math.min(lon, fromLon), Math.max(Math.min(lat, fromLat), -90),
        Math.max(lon, fromLon), Math.min(Math.max(lat, fromLat), 90)]);
    } else if (!other) {
      this.pan(now[0] - before[0], now[1] - before[1]);
    } else {
      const apart = (point) => Math.max(10, Math.hypot(point[0] - other[0], point[1] - other[1]));
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
  }
}
