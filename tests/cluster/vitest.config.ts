import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Apart from the other tests: these need a cluster, and change it. npm run test:cluster
export default defineConfig({
  test: {
    root: join(import.meta.dirname, "..", ".."),
    include: ["tests/cluster/*.cluster.ts"],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 600_000,
    reporters: ["verbose"],
  },
});
