#!/usr/bin/env node
// The `ragents` command. In a checkout it makes the program first; in an installed package the program is there.
import { existsSync } from "node:fs";

if (existsSync(new URL("../tsconfig.build.json", import.meta.url))) {
  const { setUp } = await import("../scripts/setup.mjs");
  setUp();
}
await import("../dist/cli/main.js");
