import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// Unit tests stand beside the code; suites that need a built program or a real server live in tests/ or end in .int.test.ts.
const folders = "{runtime,clients,services,gateway,cli,launcher,tests,bench}";

export default defineConfig({
  test: {
    include: [`${folders}/**/*.test.ts`],
    // Most of a test's time is spent waiting for servers: on two cores, two files at once.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // LangGraph's validation suite registers its cases with the runner's globals.
    globals: true,
    // Real servers on a busy CI machine: a test that waits for them may be tried again there, never at a desk.
    retry: process.env["CI"] === undefined ? 0 : 2,
    testTimeout: process.env["CI"] === undefined ? 30_000 : 90_000,
    hookTimeout: 120_000,
  },
});
