import { createInterface } from "node:readline";
import { createCacheClient } from "../../clients/cache/index.js";

/**
 * A process of its own that asks for one missing value many times at once. Arguments: the service's address, the number
 * of callers, and whether computing ever ends ("ends") or not ("hangs"). Begins at a line on stdin; tells on stdout of
 * each computation that begins, and at the end what its callers got.
 */
const [address, callers, computing] = process.argv.slice(2) as [string, string, "ends" | "hangs"];
const client = createCacheClient({ address, patienceMs: 5_000 });
const scope = { collection: "docs", epoch: 1, model: "m", parameters: "{}" };

async function compute(): Promise<Uint8Array> {
  process.stdout.write("computing\n");
  // What is computed takes longer than a lookup: all others come while it is made.
  await new Promise((resolve) => setTimeout(resolve, computing === "hangs" ? 3_600_000 : 300));
  return Buffer.from(`made by ${process.pid}`);
}

process.stdout.write("ready\n");
for await (const _line of createInterface({ input: process.stdin })) {
  const asked = Array.from({ length: Number(callers) }, () => client.getOrCompute("ANSWER", scope, "the question", compute));
  const filled = await Promise.all(asked);
  const values = filled.map(({ value }) => Buffer.from(value).toString());
  process.stdout.write(`${JSON.stringify({ values, computed: filled.filter(({ cached }) => !cached).length })}\n`);
}
client.close();
