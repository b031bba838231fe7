/** Builds the page of tools into a folder: `node test/harness/build.mjs FOLDER`. It is never shipped. */

import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
if (!out) throw new Error("Name the folder to build into: node test/harness/build.mjs FOLDER");
await mkdir(out, { recursive: true });
const shared = { absWorkingDir: here, bundle: true, charset: "utf8", format: "esm", target: "es2022" };
await build({ ...shared, entryPoints: ["main.ts"], outfile: join(out, "main.js") });
await build({
  ...shared, outfile: join(out, "harness.css"),
  stdin: {
    contents: '@import "../../src/core/style.css"; @import "../../src/core/tools.css";', loader: "css",
    resolveDir: here,
  },
});
await copyFile(join(here, "index.html"), join(out, "index.html"));
