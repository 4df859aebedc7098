// The client that pages without a build step use is committed, so it must be what its sources say.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const repository = fileURLToPath(new URL("../../..", import.meta.url));

test("web/freshet.js is what clients/typescript/src compiles to", async () => {
  const folder = await mkdtemp(join(tmpdir(), "freshet-js-"));
  try {
    const fresh = join(folder, "freshet.js");
    await promisify(execFile)(process.execPath, [join(repository, "clients/typescript/bundle.mjs"), fresh]);
    const [made, committed] = await Promise.all(
      [fresh, join(repository, "web/freshet.js")].map((path) => readFile(path, "utf8")),
    );
    assert.ok(made === committed, "it is not: run `npm run build` in clients/typescript, and commit web/freshet.js");
  } finally {
    await rm(folder, { recursive: true });
  }
});
