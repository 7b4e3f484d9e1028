import { defineConfig } from "vitest/config";

// Unit tests stand beside the code; suites that need a built program or a real server live in tests/ or end in .int.test.ts.
const folders = "{runtime,clients,services,gateway,cli,launcher,tests,bench}";

export default defineConfig({
  test: {
    include: [`${folders}/**/*.test.ts`],
    // LangGraph's validation suite registers its cases with the runner's globals.
    globals: true,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
