// Reads Mapbox Vector Tiles 2.1: layers, features, their attributes, and lines in units of the tile.
const TEXT = new TextDecoder();

// Fields of a protocol buffer: number, and a value, or a part of the bytes.
function* fields(bytes, from = 0, to = bytes.length) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let place = from;
  const whole = () => {
    let value = 0, times = 1, byte;
    do {
      byte = bytes[place++];
      value += (byte & 127) * times;
      times *= 128;
    } while (byte & 128);
    return value;
  };
  while (place < to) {
    const key = whole(), number = Math.floor(key / 8);
    switch (key & 7) {
      case 0: yield [number, whole()]; break;
      case 1: yield [number, view.getFloat64((place += 8) - 8, true)]; break;
      case 2: { const size = whole(); yield [number, bytes.subarray(place, place += size)]; break; }
      case 5: yield [number, view.getFloat32((place += 4) - 4, true)]; break;
      default: throw new Error("This is no vector tile.");
    }
  }
}

function packed(bytes) {
  const found = [];
  let value = 0, times = 1;
  for (const byte of bytes) {
    value += (byte & 127) * times;
    if (byte & 128) { times *= 128; continue; }
    found.push(value);
    value = 0; times = 1;
  }
  return found;
}

const zigzag = (value) => (value % 2 ? -(value + 1) / 2 : value / 2);

function attribute(bytes) {
  for (const [number, value] of fields(bytes)) {
    if (number === 1) return TEXT.decode(value);
    if (number === 6) return zigzag(value);
    if (number === 7) return Boolean(value);
    // Of 64 bits, two's complement; beyond 2^53 nearly.
    return number === 4 && value >= 2 ** 63 ? value - 2 ** 64 : value;
  }
  return null;
}

// Lines of x, y in turn; rings come without their first point again.
function linesOf(commands) {
  const lines = [];
  let x = 0, y = 0, line = [];
  for (let i = 0; i < commands.length;) {
    const command = commands[i] & 7, count = commands[i++] >> 3;
    if (command === 7) continue;
    for (let n = 0; n < count; n++) {
      x += zigzag(commands[i++]);
      y += zigzag(commands[i++]);
      if (command === 1) lines.push(line = []);
      line.push(x, y);
    }
  }
  return lines;
}

function layerOf(bytes) {
  const layer = { name: "", extent: 4096, features: [] }, keys = [], values = [], raw = [];
  for (const [number, value] of fields(bytes)) {
    if (number === 1) layer.name = TEXT.decode(value);
    else if (number === 2) raw.push(value);
    else if (number === 3) keys.push(TEXT.decode(value));
    else if (number === 4) values.push(attribute(value));
    else if (number === 5) layer.extent = value;
  }
  for (const one of raw) {
    const feature = { id: 0, kind: 0, properties: {}, lines: [] };
    for (const [number, value] of fields(one)) {
      if (number === 1) feature.id = value;
      else if (number === 2) packed(value).forEach((tag, i, tags) => { if (i % 2) feature.properties[keys[tags[i - 1]]] = values[tag]; });
      else if (number === 3) feature.kind = value;
      else if (number === 4) feature.lines = linesOf(packed(value));
    }
    layer.features.push(feature);
  }
  return layer;
}

export const POINT = 1, LINE = 2, AREA = 3;

// The layers of a tile.
export function decoded(buffer) {
  const layers = [];
  for (const [number, value] of fields(new Uint8Array(buffer))) if (number === 3) layers.push(layerOf(value));
  return layers;
}
