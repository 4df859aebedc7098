// Makes of src the one file that pages without a build step use: web/freshet.js, or the file named as argument.

import { fileURLToPath } from "node:url";

import { build } from "esbuild";

await build({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: ["src/index.ts"],
  outfile: process.argv[2] ?? "../../web/freshet.js",
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  banner: { js: "// The TypeScript client of Freshet, made from clients/typescript/src by `npm run build` there." },
  logLevel: "warning",
});
