/** Builds what browsers are sent: `node build.mjs FOLDER`. Nothing of it is fetched at run time. */

import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

import { basemap } from "./basemap.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv[2] ?? join(here, "../src/terrazzo/browser/built");
const out = `${wanted}.${process.pid}`; // who serves the old files goes on doing so until the end
const there = (names) => names.filter((name) => existsSync(join(here, name)));

/** What all three share. Licences of libraries stay, at the end of each file. */
const shared = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  format: "esm",
  legalComments: "eof",
  logLevel: "warning",
  minify: true,
  outdir: out,
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
};

await mkdir(out, { recursive: true });
await mkdir(wanted, { recursive: true });

// Jupyter is given one file, pages take what they share from chunks.
const widget = { in: "src/widget/index.ts", out: "widget" };
const pages = [
  { in: "src/pages/explorer.ts", out: "explorer" },
  { in: "src/pages/catalogue.ts", out: "pages" },
];
await build({ ...shared, entryPoints: [widget].filter((one) => there([one.in]).length) });
await build({
  ...shared, entryPoints: pages.filter((one) => there([one.in]).length),
  splitting: true, chunkNames: "chunk-[hash]",
});

for (const [name, parts] of Object.entries({
  "core.css": ["src/core/style.css", "src/core/tools.css"],
  "widget.css": ["src/core/style.css", "src/core/tools.css", "src/widget/widget.css"],
  "explorer.css": ["src/pages/explorer.css"],
  "pages.css": ["src/pages/pages.css"],
})) {
  const contents = there(parts).map((part) => `@import "./${part}";`).join("\n");
  await build({
    ...shared, outdir: undefined, outfile: join(out, name),
    stdin: { contents, loader: "css", resolveDir: here },
  });
}

await writeFile(join(out, "land.json"), JSON.stringify(await basemap(here)));

const made = await readdir(out);
const old = await readdir(wanted);
for (const name of made) await rename(join(out, name), join(wanted, name));
for (const name of old) if (!made.includes(name)) await rm(join(wanted, name), { force: true });
await rm(out, { recursive: true });
