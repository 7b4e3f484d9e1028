import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Apart from the other tests: it wants a machine of its own. npx vitest run --config tests/edge/vitest.config.ts
export default defineConfig({
  test: { root: join(import.meta.dirname, "..", ".."), include: ["tests/edge/*.processes.ts"], reporters: ["verbose"] },
});
