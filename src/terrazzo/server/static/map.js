// A tile map on one canvas, Web Mercator. Positions are x, y in 0..1 of the world square, y down.

const TILE = 256;
const DEEPEST = 22;
const KEPT_TILES = 400;

export const toWorld = (lon, lat) => {
  const bound = Math.max(-85.0511, Math.min(85.0511, lat)) * Math.PI / 180;
  return [lon / 360 + 0.5, 0.5 - Math.asinh(Math.tan(bound)) / (2 * Math.PI)];
};
export const toDegrees = (x, y) =>
  [(x - 0.5) * 360, Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180 / Math.PI];

export class TileMap {
  constructor(host, { onmove, onpoint, onclick, onerror }) {
    Object.assign(this, { host, onmove, onpoint, onclick, onerror });
    this.canvas = host.querySelector("canvas");
    this.x = 0.5; this.y = 0.5; this.zoom = 2;
    this.tiles = new Map();
    this.layer = null;
    this.mark = null;
    this.pointers = new Map();
    this.listen();
    // Drawn at once, in the frame in which the size changes; a fitted layer stays fitted.
    new ResizeObserver(() => {
      if (this.fitted) this.fit(this.fitted);
      this.draw();
    }).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // address: (z, x, y) => URL; zooms: [first, last]; tile: its edge, pixels;
  // bounds: west, south, east, north
  show(layer) {
    for (const tile of this.tiles.values()) tile.abort.abort();
    this.tiles.clear();
    this.layer = layer;
    this.redraw();
  }

  fit(bounds) {
    const [west, south, east, north] = bounds;
    this.fitted = bounds;
    const [left, top] = toWorld(west, north), [right, bottom] = toWorld(east, south);
    const { width, height } = this.size();
    const across = Math.max(right - left, 1e-9), down = Math.max(bottom - top, 1e-9);
    // The panel takes the left side of a wide screen and the lower part of a narrow one.
    const panel = width > 560 ? 300 : 0, below = width > 560 ? 0 : height * 0.4;
    const wide = width - panel - 60, high = height - below - 60;
    this.zoom = this.bounded(Math.log2(Math.min(wide / across, high / down) / TILE));
    const scale = this.scale();
    this.x = (left + right) / 2 - panel / 2 / scale;
    this.y = (top + bottom) / 2 + below / 2 / scale;
    this.redraw();
  }

  size() { return this.host.getBoundingClientRect(); }
  scale() { return TILE * 2 ** this.zoom; }
  bounded(zoom) { return Math.max(0, Math.min(DEEPEST, zoom)); }

  at(px, py) {
    const { width, height } = this.size();
    return [this.x + (px - width / 2) / this.scale(), this.y + (py - height / 2) / this.scale()];
  }

  zoomBy(steps, px, py) {
    const { width, height } = this.size();
    const [x, y] = this.at(px ?? width / 2, py ?? height / 2);
    this.fitted = null;
    this.zoom = this.bounded(this.zoom + steps);
    const [nowX, nowY] = this.at(px ?? width / 2, py ?? height / 2);
    this.x += x - nowX; this.y += y - nowY;
    this.redraw();
  }

  pan(dx, dy) {
    this.fitted = null;
    this.x -= dx / this.scale();
    this.y = Math.max(0, Math.min(1, this.y - dy / this.scale()));
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    const { width, height } = this.size(), ratio = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w; this.canvas.height = h;
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const context = this.canvas.getContext("2d");
    const colour = (name) => getComputedStyle(document.body).getPropertyValue(name);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colour("--ground");
    context.fillRect(0, 0, width, height);
    const lines = this.lines(width, height);
    this.graticule(context, width, height, lines, colour("--line"));
    if (this.layer) this.drawTiles(context, width, height);
    this.labels(context, width, height, lines, colour("--soft"), colour("--ground"));
    if (this.mark) this.cross(context, width, height);
    this.onmove?.(this);
  }

  drawTiles(context, width, height) {
    const [first, last] = this.layer.zooms;
    const finer = Math.log2(this.layer.tile / TILE);
    const sharp = Math.round(this.zoom + Math.log2(devicePixelRatio || 1) - finer);
    const z = Math.max(Math.min(first, last), Math.min(last, sharp));
    const count = 2 ** z, [left, top] = this.at(0, 0), [right, bottom] = this.at(width, height);
    const [west, north] = toWorld(this.layer.bounds[0], this.layer.bounds[3]);
    const [east, south] = toWorld(this.layer.bounds[2], this.layer.bounds[1]);
    const cut = (value) => Math.max(0, Math.min(count - 1, Math.floor(value * count)));
    const wanted = new Set();
    // Beyond the layer's own resolution its pixels are shown as they are.
    context.imageSmoothingEnabled = this.zoom < last + finer + 0.5;
    if (right > west && left < east && bottom > north && top < south) {
      for (let y = cut(Math.max(top, north)); y <= cut(Math.min(bottom, south)); y++) {
        for (let x = cut(Math.max(left, west)); x <= cut(Math.min(right, east)); x++) {
          wanted.add(this.place(context, width, height, z, x, y));
        }
      }
    }
    this.forget(wanted);
  }

  place(context, width, height, z, x, y) {
    const size = this.scale() / 2 ** z;
    const px = Math.round((x / 2 ** z - this.x) * this.scale() + width / 2);
    const py = Math.round((y / 2 ** z - this.y) * this.scale() + height / 2);
    const next = [Math.round(((x + 1) / 2 ** z - this.x) * this.scale() + width / 2),
                  Math.round(((y + 1) / 2 ** z - this.y) * this.scale() + height / 2)];
    const tile = this.tile(z, x, y);
    if (tile.image) {
      context.drawImage(tile.image, px, py, next[0] - px, next[1] - py);
      return tile.key;
    }
    for (let up = 1; up <= Math.min(z, 5) && tile.state === "loading"; up++) {
      const parent = this.tiles.get(`${z - up}/${x >> up}/${y >> up}`);
      if (!parent?.image) continue;
      const part = this.layer.tile / 2 ** up;
      context.drawImage(parent.image, (x % 2 ** up) * part, (y % 2 ** up) * part, part, part,
        px, py, size, size);
      break;
    }
    return tile.key;
  }

  tile(z, x, y) {
    const key = `${z}/${x}/${y}`;
    const known = this.tiles.get(key);
    if (known) {
      this.tiles.delete(key);
      this.tiles.set(key, known);
      return known;
    }
    const tile = { key, state: "loading", image: null, abort: new AbortController() };
    this.tiles.set(key, tile);
    this.load(tile, this.layer.address(z, x, y));
    return tile;
  }

  async load(tile, address) {
    try {
      const answer = await fetch(address, { signal: tile.abort.signal });
      if (!answer.ok) throw new Error((await answer.json()).message);
      if (answer.status === 200) tile.image = await createImageBitmap(await answer.blob());
      tile.state = "here";
    } catch (error) {
      if (error.name === "AbortError") return;
      tile.state = "failed";
      this.onerror?.(error);
    }
    this.redraw();
  }

  // Loads that nobody looks at any more are stopped; finished tiles are kept while there is room.
  forget(wanted) {
    for (const [key, tile] of this.tiles) {
      const stale = tile.state === "loading" || this.tiles.size > KEPT_TILES;
      if (wanted.has(key) || !stale) continue;
      tile.abort.abort();
      tile.image?.close();
      this.tiles.delete(key);
    }
  }

  // Meridians and parallels at round degrees: [pixel, text] each.
  lines(width, height) {
    const steps = [30, 20, 10, 5, 2, 1, .5, .2, .1, .05, .02, .01, .005, .002, .001, .0005, .0002];
    const perPixel = 360 / this.scale();
    const step = steps.findLast((size) => size / perPixel >= 110) ?? 30;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const [west, north] = toDegrees(...this.at(0, 0));
    const [east, south] = toDegrees(...this.at(width, height));
    const text = (value, plus, minus) =>
      `${Math.abs(value).toFixed(digits)}° ${value < 0 ? minus : plus}`;
    const across = [], down = [];
    for (let i = Math.ceil(Math.max(west, -180) / step); i * step <= Math.min(east, 180); i++) {
      const px = (toWorld(i * step, 0)[0] - this.x) * this.scale() + width / 2;
      across.push([Math.round(px) + 0.5, text(i * step, "E", "W")]);
    }
    for (let i = Math.ceil(Math.max(south, -85) / step); i * step <= Math.min(north, 85); i++) {
      const py = (toWorld(0, i * step)[1] - this.y) * this.scale() + height / 2;
      down.push([Math.round(py) + 0.5, text(i * step, "N", "S")]);
    }
    return { across, down };
  }

  graticule(context, width, height, { across, down }, colour) {
    context.strokeStyle = colour; context.lineWidth = 1;
    context.beginPath();
    for (const [px] of across) { context.moveTo(px, 0); context.lineTo(px, height); }
    for (const [py] of down) { context.moveTo(0, py); context.lineTo(width, py); }
    context.stroke();
  }

  // Labels stay clear of the panel on the left and the buttons on the right.
  labels(context, width, height, { across, down }, ink, ground) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = ink; context.strokeStyle = ground; context.lineWidth = 3;
    const write = (text, px, py) => { context.strokeText(text, px, py); context.fillText(text, px, py); };
    const free = width > 560 ? 296 : 0;
    for (const [px, text] of across) {
      if (px >= free && px + context.measureText(text).width < width - 60) write(text, px + 4, 14);
    }
    for (const [py, text] of down) {
      if (py > 160 || py < 4) write(text, width - context.measureText(text).width - 12, py - 4);
      else write(text, width - context.measureText(text).width - 56, py - 4);
    }
  }

  cross(context, width, height) {
    const px = (this.mark[0] - this.x) * this.scale() + width / 2;
    const py = (this.mark[1] - this.y) * this.scale() + height / 2;
    for (const [style, wide] of [["#fff", 4], ["#000", 1.5]]) {
      context.strokeStyle = style; context.lineWidth = wide;
      context.beginPath(); context.arc(px, py, 7, 0, 2 * Math.PI); context.stroke();
    }
  }

  listen() {
    const host = this.host;
    const place = (event) => {
      const { left, top } = this.size();
      return [event.clientX - left, event.clientY - top];
    };
    host.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      const steps = -event.deltaY * lines / (event.ctrlKey ? 100 : 400);
      this.zoomBy(Math.max(-1, Math.min(1, steps)), ...place(event));
    }, { passive: false });
    host.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      host.setPointerCapture(event.pointerId);
      this.moved = this.pointers.size ? 99 : 0;
      this.pointers.set(event.pointerId, place(event));
    });
    host.addEventListener("pointermove", (event) => this.move(event.pointerId, place(event)));
    host.addEventListener("pointerup", (event) => {
      const clicked = this.pointers.delete(event.pointerId) && this.moved < 5;
      if (clicked && !this.pointers.size) {
        this.mark = this.at(...place(event));
        this.redraw();
        this.onclick?.(...toDegrees(...this.mark));
      }
    });
    host.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    host.addEventListener("dblclick", (event) => this.zoomBy(1, ...place(event)));
    host.addEventListener("keydown", (event) => {
      const step = 80;
      const actions = {
        ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
        ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
        "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(-0.5),
      };
      if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  move(id, now) {
    this.onpoint?.(...toDegrees(...this.at(...now)));
    const before = this.pointers.get(id);
    if (!before) return;
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    this.pointers.set(id, now);
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (!other) {
      this.pan(now[0] - before[0], now[1] - before[1]);
      return;
    }
    const apart = (point) => Math.max(10, Math.hypot(point[0] - other[0], point[1] - other[1]));
    const middle = (point) => [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
    const [was, is] = [middle(before), middle(now)];
    this.pan(is[0] - was[0], is[1] - was[1]);
    this.zoomBy(Math.log2(apart(now) / apart(before)), ...is);
  }
}
