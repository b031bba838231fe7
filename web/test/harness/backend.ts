/** A computing side that makes everything up: the tools can be looked at without a server. */

import {
  type Backend,
  BackendError,
  type JsonObject,
  type Legend,
  type Method,
  type Opened,
  type Picture,
  type Progress,
} from "../../src/core/backend";

/** With `?seasons` in the address the dates have names. */
const DATES = location.search.includes("seasons")
  ? Array.from({ length: 36 }, (_, at) =>
      `${2016 + Math.floor(at / 4)}-${["mam", "jja", "son", "djf"][at % 4]!}`)
  : Array.from({ length: 36 }, (_, at) =>
      new Date(Date.UTC(2024, 0, 3 + at * 10)).toISOString().replace(".000Z", "Z"),
    );

const PLACES = [
  {
    name: "Timișoara",
    country: "Romania",
    lon: 21.2272,
    lat: 45.7537,
    kind: "city",
    population: 250849,
  },
  { name: "Turin", country: "Italy", lon: 7.6869, lat: 45.0703, kind: "city", population: 870456 },
  { name: "Turino", country: "Nowhere", lon: 8.1, lat: 45.3, kind: "village", population: 312 },
];

/** What every request was, for whoever looks. */
export const asked: { method: Method; layer: string | null; params: object }[] = [];

/** Set it to see what a refusal looks like. */
export const refuse = new Set<Method>();

const season = (at: number) => 0.35 + 0.3 * Math.sin(((at - 9) / 36) * 2 * Math.PI);

export class FakeBackend implements Backend {
  async ask<T>(
    method: Method,
    layer: string | null,
    params: object,
    signal?: AbortSignal,
  ): Promise<T> {
    asked.push({ method, layer, params });
    await pause(60, signal);
    if (refuse.has(method)) {
      throw new BackendError(
        "The file of 2024-06-11 is cut off. Ingest it again, or choose another date.",
        "SourceUnreadable",
        500,
      );
    }
    const given = params as Record<string, never>;
    const answer: Record<string, (given: Record<string, never>) => unknown> = {
      open: () => about(String(given["title"])),
      legend: () => LEGEND,
      values,
      profile,
      statistics,
      transect,
      places: ({ q }) => ({
        places: PLACES.filter((one) => one.name.toLowerCase().startsWith(String(q).toLowerCase())),
        source: "made up",
      }),
    };
    return answer[method]!(given) as T;
  }

  async picture(
    method: Method,
    _: string,
    params: object,
    signal?: AbortSignal,
    progress?: Progress,
  ): Promise<Picture> {
    asked.push({ method, layer: _, params });
    if (refuse.has(method)) {
      throw new BackendError(
        "60 frames of 1080 x 800 pixels are more than may be made at once. " +
          "Choose fewer dates or a smaller width.",
        "TimelapseTooLarge",
        400,
      );
    }
    if (method === "timelapse") {
      for (let done = 0; done < 4; done += 1) {
        await pause(80, signal);
        progress?.(done, 4);
      }
    }
    const canvas = new OffscreenCanvas(256, 256);
    const draw = canvas.getContext("2d")!;
    const shade = draw.createLinearGradient(0, 0, 256, 256);
    RAMP.forEach((color, at) => shade.addColorStop(at / (RAMP.length - 1), color));
    draw.fillStyle = shade;
    draw.fillRect(0, 0, 256, 256);
    return { blob: await canvas.convertToBlob({ type: "image/png" }), resolution: 20 };
  }
}

const RAMP = ["#f7fcf5", "#c7e9c0", "#74c476", "#238b45", "#00441b"];

const LEGEND: Legend = { kind: "range", min: 0, max: 1, gamma: 1, colors: RAMP, name: "greens" };

function about(title: string): Opened {
  return {
    id: `digest-of-${title}`,
    title,
    kind: "raster",
    bounds: [20.9, 45.5, 21.6, 46],
    native: null,
    dates: DATES,
    resolution: 10,
    bands: [
      { name: "ndvi", title: "NDVI", unit: "1" },
      { name: "red", title: "Red", unit: "reflectance" },
    ],
    range: [0, 1],
    legend: LEGEND,
    sources: [{ id: "s2", title: "Contains modified Copernicus Sentinel data 2024" }],
    shown: { bands: ["ndvi"], time: DATES[17]! },
    minzoom: 0,
    maxzoom: 18,
  };
}

function values(given: JsonObject): unknown {
  const outside = (given["lon"] as number) > 21.6;
  return {
    lon: given["lon"],
    lat: given["lat"],
    x: 520_105,
    y: 5_065_995,
    crs: "EPSG:32634",
    resolution: 10,
    dates: outside
      ? []
      : [
          {
            date: DATES[17],
            values: [
              { band: "ndvi", value: 0.61234567, unit: "1" },
              { band: "red", value: null },
              { band: "class", value: 4, label: "Vegetation" },
            ],
          },
        ],
  };
}

function profile(given: JsonObject): unknown {
  const rows = DATES.map((date, at) => {
    const valid = [1, 0.97, 0.4, 1, 0, 0.85][at % 6]!;
    const value = valid ? season(at) - (1 - valid) * 0.3 : null;
    return { date, valid, count: 412.5, values: { ndvi: value, red: value && value / 4 } };
  });
  const days = Array.from({ length: DATES[0]!.includes("T") ? 70 : 0 }, (_, at) => Date.UTC(2024, 0, 3 + at * 5));
  return {
    resolution: 10,
    count: 412.5,
    rows,
    bands: [
      { name: "ndvi", unit: "1" },
      { name: "red", unit: "reflectance" },
    ],
    ...(given["smooth"] !== undefined && {
      smoothed: {
        dates: days.map((at) => new Date(at).toISOString().slice(0, 10)),
        values: {
          ndvi: days.map((_, at) => season(at / 2)),
          red: days.map((_, at) => season(at / 2) / 4),
        },
      },
    }),
  };
}

function statistics(): unknown {
  const counts = Array.from({ length: 64 }, (_, at) =>
    Math.round(4000 * Math.exp(-(((at - 40) / 12) ** 2))),
  );
  const edges = Array.from({ length: 65 }, (_, at) => -0.2 + (at / 64) * 1.2);
  const band = {
    count: 262144,
    valid: 241_001,
    min: -0.19,
    max: 0.98,
    mean: 0.5512,
    sd: 0.1811,
    percentiles: { "2": 0.1201, "50": 0.5603, "98": 0.8911 },
    histogram: { edges, counts },
  };
  return {
    resolution: 40,
    bands: [
      { name: "ndvi", unit: "1", ...band },
      {
        name: "red",
        unit: "reflectance",
        ...band,
        valid: 0,
        min: null,
        max: null,
        mean: null,
        sd: null,
      },
    ],
  };
}

function transect(): unknown {
  const distance = Array.from({ length: 200 }, (_, at) => at * 61.5);
  const along = distance.map((_, at) =>
    at > 90 && at < 105 ? null : 0.5 + 0.3 * Math.sin(at / 14),
  );
  return { resolution: 10, distance, bands: [{ name: "ndvi", unit: "1", values: along }] };
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(over);
      reject(new DOMException("Stopped", "AbortError"));
    });
  });
}
