/** Indices that people ask for by name, as formulas over common band names. */
import { compile, FormulaWrong, type Band } from "./formula";

export interface Index {
  id: string;
  title: string;
  formula: string;
  colors: string;
  /** Where its values lie that are worth telling apart. */
  range: [number, number];
}

/** Bands that stand in for another: sensors call theirs differently. */
const STANDS_IN: Record<string, readonly string[]> = {
  nir: ["nir", "nir08", "nir09"],
  swir16: ["swir16"],
  swir22: ["swir22"],
  rededge: ["rededge", "rededge071", "rededge075", "rededge078"],
};

const KNOWN: readonly Index[] = [
  { id: "ndvi", title: "NDVI, vegetation", formula: "(nir - red) / (nir + red)", colors: "RdYlGn", range: [-0.2, 0.9] },
  { id: "ndwi", title: "NDWI, open water", formula: "(green - nir) / (green + nir)", colors: "RdBu", range: [-0.8, 0.6] },
  { id: "ndmi", title: "NDMI, moisture of vegetation", formula: "(nir - swir16) / (nir + swir16)", colors: "BrBG", range: [-0.5, 0.6] },
  { id: "mndwi", title: "MNDWI, water among buildings", formula: "(green - swir16) / (green + swir16)", colors: "RdBu", range: [-0.8, 0.6] },
  { id: "ndsi", title: "NDSI, snow", formula: "(green - swir16) / (green + swir16)", colors: "Blues_r", range: [-0.4, 1] },
  { id: "nbr", title: "NBR, burnt land", formula: "(nir - swir22) / (nir + swir22)", colors: "RdYlGn", range: [-0.5, 0.9] },
  { id: "ndre", title: "NDRE, chlorophyll", formula: "(nir - rededge) / (nir + rededge)", colors: "YlGn", range: [0, 0.7] },
  { id: "gndvi", title: "GNDVI, green vegetation", formula: "(nir - green) / (nir + green)", colors: "YlGn", range: [0, 0.9] },
];

/** A formula with the names of common bands replaced by what stands in for them, if any is there. */
function adapted(formula: string, bands: readonly Band[]): string {
  return formula.replace(/[a-z]+\d*/g, (name) => {
    const found = (STANDS_IN[name] ?? [name]).find((one) => bands.some((band) => band.common === one || band.name === one));
    return found ?? name;
  });
}

/** The indices that can be computed of these bands. */
export function indicesOf(bands: readonly Band[]): Index[] {
  return KNOWN.map((one) => ({ ...one, formula: adapted(one.formula, bands) })).filter((one) => {
    try {
      compile(one.formula, bands);
      return true;
    } catch (error) {
      if (error instanceof FormulaWrong) return false;
      throw error;
    }
  });
}

export interface Combination {
  id: string;
  title: string;
  bands: [string, string, string];
}

const COMBINATIONS: readonly { id: string; title: string; bands: [string, string, string] }[] = [
  { id: "true", title: "True colours", bands: ["red", "green", "blue"] },
  { id: "infrared", title: "Infrared (vegetation is red)", bands: ["nir", "red", "green"] },
  { id: "agriculture", title: "Agriculture (swir, nir, blue)", bands: ["swir16", "nir", "blue"] },
  { id: "burnt", title: "Short-wave infrared", bands: ["swir22", "nir", "red"] },
];

/** The combinations of three bands that are there, by their names. */
export function combinationsOf(bands: readonly Band[]): Combination[] {
  return COMBINATIONS.flatMap(({ id, title, bands: wanted }) => {
    const names = wanted.map((name) => nameOf(name, bands));
    return names.every(Boolean) ? [{ id, title, bands: names as [string, string, string] }] : [];
  });
}

function nameOf(common: string, bands: readonly Band[]): string {
  for (const one of STANDS_IN[common] ?? [common]) {
    const found = bands.find((band) => band.common === one || band.name === one);
    if (found) return found.name;
  }
  return "";
}
