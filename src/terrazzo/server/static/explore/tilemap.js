// A map in Web Mercator of vector tiles: what a collection holds, drawn on a canvas.
import { fetched } from "./api.js";
import { el } from "./dom.js";
import { AREA, decoded, POINT } from "./mvt.js";

const SIZE = 512, DEEPEST = 22, KEPT = 200, UNITS = 4096;
const LAND = new URL("land.json", import.meta.url);
const mercator = ([lon, lat]) => {
  const bounded = Math.max(-85.05, Math.min(85.05, lat)) * Math.PI / 180;
  return [(lon + 180) / 360, (1 - Math.asinh(Math.tan(bounded)) / Math.PI) / 2];
};
const degreesOf = ([x, y]) => [x * 360 - 180, Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180 / Math.PI];
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class TileMap {
  // about: what a reader of the screen is told; address: of a tile, by zoom, row and column.
  // colour: of a feature; onpick: called with what is clicked, or null; onmove: after each move.
  constructor(about, { address, colour, onpick, onmove }) {
    Object.assign(this, { address, colour, onpick, onmove });
    this.centre = [0.5, 0.35]; this.zoom = 1;
    this.tiles = new Map();
    this.found = [];  // GeoJSON geometries that are drawn on top
    this.canvas = el("canvas", { role: "img", "aria-label": about });
    const button = (name, label, action) => el("button", { type: "button", "aria-label": label, title: label, onclick: action }, name);
    this.state = el("p", { class: "state", role: "status" });
    this.host = el("div", { class: "map tiles", tabindex: "0", role: "group", "aria-label": `${about} Arrow keys move it, plus and minus zoom.` },
      this.canvas, this.state, el("div", { class: "tools" }, button("+", "Zoom in", () => this.zoomBy(1)),
        button("−", "Zoom out", () => this.zoomBy(-1)), button("□", "Show all", () => this.fit(this.whole))));
    this.whole = [-180, -60, 180, 75];
    this.listen();
    new ResizeObserver(() => (this.fitted ? this.fit(this.fitted) : this.redraw())).observe(this.host);
    fetch(LAND).then((answer) => answer.json()).then(({ rings, unit }) => {
      this.land = rings.map((ring) => {
        const path = [];
        for (let i = 0, x = 0, y = 0; i < ring.length; i += 2) path.push(mercator([(x += ring[i]) * unit, (y += ring[i + 1]) * unit]));
        return path;
      });
      this.redraw();
    }).catch(() => {});
  }

  size() { return [this.host.clientWidth, this.host.clientHeight]; }
  get world() { return SIZE * 2 ** this.zoom; }

  fit(box) {
    this.fitted = box;
    const [width, height] = this.size();
    if (!width) return;
    let [west, south, east, north] = box;
    if (east < west) east += 360;
    const [left, bottom] = mercator([west, south]), [right, top] = mercator([east, north]);
    this.centre = [(left + right) / 2, (top + bottom) / 2];
    const most = Math.max((right - left) / (width * 0.85), (bottom - top) / (height * 0.85), 1e-9);
    this.zoom = this.bounded(Math.log2(1 / (most * SIZE)));
    this.redraw();
  }

  bounded(zoom) { return Math.max(0, Math.min(DEEPEST, zoom)); }

  // West, south, east, north of what is seen.
  bounds() {
    const [width, height] = this.size();
    const [west, north] = degreesOf(this.at(0, 0)), [east, south] = degreesOf(this.at(width, height));
    return [west, south, east, north];
  }

  at(px, py) {
    const [width, height] = this.size();
    return [this.centre[0] + (px - width / 2) / this.world, this.centre[1] + (py - height / 2) / this.world];
  }

  zoomBy(steps, px, py) {
    const [width, height] = this.size();
    const before = this.at(px ?? width / 2, py ?? height / 2);
    this.zoom = this.bounded(this.zoom + steps);
    const now = this.at(px ?? width / 2, py ?? height / 2);
    this.centre = [this.centre[0] + before[0] - now[0], this.centre[1] + before[1] - now[1]];
    this.moved_();
  }

  pan(dx, dy) {
    this.centre = [this.centre[0] - dx / this.world, Math.max(0, Math.min(1, this.centre[1] - dy / this.world))];
    this.moved_();
  }

  moved_() {
    this.fitted = null;
    this.redraw();
  }

  redraw() { this.pending ||= requestAnimationFrame(() => { this.pending = 0; this.draw(); }); }

  // The tiles that are seen: where they are asked for, and the corner at which each is drawn.
  seen() {
    const level = Math.max(0, Math.min(DEEPEST, Math.round(this.zoom))), count = 2 ** level;
    const [width, height] = this.size(), [left, top] = this.at(0, 0), [right, bottom] = this.at(width, height);
    const found = [];
    for (let row = Math.max(0, Math.floor(top * count)); row <= Math.min(count - 1, Math.floor(bottom * count)); row++) {
      for (let column = Math.floor(left * count); column <= Math.floor(right * count); column++) {
        found.push({ level, row, column, inside: ((column % count) + count) % count });
      }
    }
    return found;
  }

  async get(level, row, column) {
    const key = `${level}/${row}/${column}`;
    const tile = { layers: [] };
    this.tiles.set(key, tile);
    if (this.tiles.size > KEPT) this.tiles.delete(this.tiles.keys().next().value);
    try {
      const answer = await fetched(this.address(level, row, column), { cache: "default" });
      tile.layers = answer.status === 204 ? [] : decoded(await answer.arrayBuffer());
      for (const layer of tile.layers) for (const one of layer.features) one.path = pathOf(one, layer.extent);
    } catch (error) {
      tile.error = error.message;
    }
    tile.done = true;
    this.redraw();
  }

  draw() {
    const [width, height] = this.size(), ratio = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    const pen = this.canvas.getContext("2d"), [left, top] = this.at(0, 0), world = this.world;
    const place = (x, y, scale) => pen.setTransform(scale * ratio, 0, 0, scale * ratio, (x - left) * world * ratio, (y - top) * world * ratio);
    this.drawLand(pen, place, world);
    this.shown = this.seen();
    this.placed = [];
    let waiting = 0, wrong = "";
    for (const { level, row, column, inside } of this.shown) {
      const key = `${level}/${row}/${inside}`;
      if (!this.tiles.has(key)) this.get(level, row, inside);
      const tile = this.tiles.get(key), count = 2 ** level, edge = world / count;
      waiting += !tile.done;
      wrong ||= tile.error;
      const ready = tile.done ? tile : null;
      if (!ready) continue;
      this.placed.push({ tile, x: column / count, y: row / count, scale: edge / UNITS });
      pen.save();
      place(column / count, row / count, edge / UNITS);
      pen.beginPath();
      pen.rect(0, 0, UNITS, UNITS);
      pen.clip();
      for (const layer of tile.layers) for (const one of layer.features) this.drawFeature(pen, one, UNITS / edge);
      pen.restore();
    }
    this.drawFound(pen, place, world);
    this.state.textContent = wrong || (waiting ? "Loading." : "");
    this.host.dataset.loaded = waiting ? "" : "yes";
    clearTimeout(this.later);
    this.later = setTimeout(() => this.onmove?.(), 250);
  }

  drawLand(pen, place, world) {
    pen.fillStyle = style("--land"); pen.strokeStyle = style("--shore");
    for (const turn of [-1, 0, 1]) {
      place(turn, 0, world);
      pen.lineWidth = 1 / world;
      pen.beginPath();
      for (const ring of this.land ?? []) {
        ring.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
        pen.closePath();
      }
      pen.fill("evenodd"); pen.stroke();
    }
  }

  drawFeature(pen, one, unit) {
    const chosen = this.isChosen?.(one), colour = chosen ? style("--pick") : this.colour(one);
    pen.fillStyle = pen.strokeStyle = colour;
    pen.lineWidth = (chosen ? 3 : 1) * unit;
    if (one.kind === POINT) {
      pen.beginPath();
      for (const [x, y] of one.lines) { pen.moveTo(x, y); pen.arc(x, y, (chosen ? 6 : 4) * unit, 0, 2 * Math.PI); }
      pen.fill();
      return;
    }
    if (one.kind === AREA) {
      pen.globalAlpha = chosen ? 0.6 : 0.35;
      pen.fill(one.path);
      pen.globalAlpha = 1;
    }
    pen.stroke(one.path);
  }

  drawFound(pen, place, world) {
    pen.strokeStyle = pen.fillStyle = style("--pick");
    place(0, 0, 1);
    pen.lineWidth = 2;
    const walk = (part, depth) => {
      if (depth) { part.forEach((one) => walk(one, depth - 1)); return; }
      pen.beginPath();
      part.forEach((point, i) => {
        const [x, y] = mercator(point).map((one) => one * world);
        if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
      });
      if (part.length === 1) { const [x, y] = mercator(part[0]).map((one) => one * world); pen.arc(x, y, 5, 0, 2 * Math.PI); }
      pen.stroke();
    };
    const depths = { LineString: 0, MultiLineString: 1, Polygon: 1, MultiPolygon: 2, MultiPoint: 0 };
    for (const { type, coordinates } of this.found) {
      if (type === "Point") walk([coordinates], 0);
      else if (type === "MultiPoint") coordinates.forEach((one) => walk([one], 0));
      else if (type in depths) walk(coordinates, depths[type]);
    }
  }

  // What is drawn at a place, what was drawn last first.
  pick(px, py) {
    const pen = this.canvas.getContext("2d"), [x, y] = this.at(px, py);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    for (const { tile, x: left, y: top, scale } of this.placed ?? []) {
      const [u, v] = [(x - left) * this.world / scale, (y - top) * this.world / scale];
      if (u < 0 || v < 0 || u > UNITS || v > UNITS) continue;
      pen.lineWidth = 8 / scale;
      for (const layer of [...tile.layers].reverse()) {
        const hit = layer.features.findLast((one) => (one.kind === POINT
          ? one.lines.some(([a, b]) => Math.hypot(a - u, b - v) * scale < 8)
          : (one.kind === AREA && pen.isPointInPath(one.path, u, v)) || (one.kind !== AREA && pen.isPointInStroke(one.path, u, v))));
        if (hit) return hit;
      }
    }
    return null;
  }

  listen() {
    const pointers = new Map();
    let moved = 0;
    const place = (event) => {
      const { left, top } = this.host.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    this.host.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== this.host) return;  // the page scrolls
      event.preventDefault();
      this.zoomBy(-event.deltaY * (event.deltaMode ? 30 : 1) / 300, ...place(event));
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.host.focus({ preventScroll: true });
      moved = 0;
      pointers.set(event.pointerId, place(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId), now = place(event);
      if (!before) return;
      const other = [...pointers].find(([key]) => key !== event.pointerId)?.[1];
      pointers.set(event.pointerId, now);
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (!other) { this.pan(now[0] - before[0], now[1] - before[1]); return; }
      const apart = (point) => Math.max(10, Math.hypot(point[0] - other[0], point[1] - other[1]));
      this.zoomBy(Math.log2(apart(now) / apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (pointers.delete(event.pointerId) && moved < 5) this.onpick?.(this.pick(...place(event)));
    });
    this.canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    this.host.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => this.pan(60, 0), ArrowRight: () => this.pan(-60, 0),
        ArrowUp: () => this.pan(0, 60), ArrowDown: () => this.pan(0, -60),
        "+": () => this.zoomBy(1), "=": () => this.zoomBy(1), "-": () => this.zoomBy(-1),
      };
      if (event.target !== this.host || !actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key]();
    });
  }
}

function pathOf({ kind, lines }, extent) {
  const path = new Path2D(), times = UNITS / extent;
  for (const line of lines) {
    for (let i = 0; i < line.length; i += 2) path[i ? "lineTo" : "moveTo"](line[i] * times, line[i + 1] * times);
    if (kind === AREA) path.closePath();
  }
  return path;
}
