const MINUS = "\u2212";

/** A number as people read it: `digits` that count, no exponent between 1e-4 and 1e7. */
export function number(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return "no data";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : `${MINUS}∞`;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e")
      .replace("-", MINUS);
  }
  const whole = size < 1 ? 0 : Math.floor(Math.log10(size)) + 1;
  const text = new Intl.NumberFormat("en", {
    maximumFractionDigits: Math.max(0, size < 1 ? digits : digits - whole),
    useGrouping: size >= 10_000,
  }).format(value);
  return text.replaceAll(",", "\u202f").replace("-", MINUS);
}

/** A length with the unit that suits it: metres below a kilometre. */
export function distance(metres: number): string {
  if (metres < 1000) return `${number(metres, metres < 100 ? 3 : 4)} m`;
  return `${number(metres / 1000, 4)} km`;
}

/** An area with the unit that suits it: m², ha, km². */
export function area(squareMetres: number): string {
  if (squareMetres < 10_000) return `${number(squareMetres, 4)} m²`;
  if (squareMetres < 10_000_000) return `${number(squareMetres / 10_000, 4)} ha`;
  return `${number(squareMetres / 1_000_000, 4)} km²`;
}

/**
 * The sentence that tells at which pixel size something was computed.
 *
 * @param native pixel size of the data, told beside it where that is another one: a screen's pixels may be finer.
 */
export function computedAt(metres: number | null | undefined, native?: number | null): string {
  if (!metres) return "resolution not told";
  const other = native && Math.abs(metres / native - 1) > 0.01;
  return `computed at ${distance(metres)}${other ? ` from ${distance(native)} data` : ""}`;
}

/** The day of a date label, with the time of day only where it is not midnight. */
export function day(date: string | null | undefined): string {
  if (!date) return "no date";
  const [whole, time] = date.split("T");
  const clock = time?.slice(0, 5);
  return clock && clock !== "00:00" ? `${whole} ${clock}` : whole!;
}

/** A share of one as per cent. */
export function percent(share: number): string {
  return `${number(share * 100, share === 0 || share >= 0.1 ? 3 : 2)} %`;
}

/** Degrees with hemisphere, five decimals: about a metre. */
export function place(lon: number, lat: number): string {
  const side = (value: number, positive: string, negative: string) =>
    `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;
  return `${side(lat, "N", "S")}, ${side(lon, "E", "W")}`;
}

/** A unit as it is written after a number; shares and indices have none. */
export function unitOf(unit: string | null | undefined): string {
  return unit && unit !== "1" ? unit : "";
}

/** What a band is called on the screen; the one band of a result without bands has no name. */
export function bandName(name: string): string {
  return name || "value";
}

/** The size of a file. */
export function fileSize(bytes: number): string {
  if (bytes >= 1e6) return `${number(bytes / 1e6, 3)} MB`;
  return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}
