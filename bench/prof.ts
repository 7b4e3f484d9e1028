import { createCacheClient } from "../clients/cache/index.js";
import { startRedis } from "../tests/servers/redis.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
const server = await startRedis({ own: true });
const service = await startServiceProcess("cache", { RAGENTS_CACHE_URL: process.argv[2] === "memory" ? "memory:" : server.url, ...(process.argv[3] ? {NODE_OPTIONS: "--cpu-prof --cpu-prof-dir=/tmp/prof-server"} : {}) });
const c = createCacheClient({ address: service.address, localBytes: 0 });
const scope = { collection: "bench", epoch: 1, model: "static-256", parameters: "{}" };
const texts = Array.from({ length: 2000 }, (_, i) => `What does paragraph ${i} of the handbook say?`);
for (const t of texts) { do await c.put("RETRIEVAL", scope, t, Buffer.alloc(1500,65)); while (!(await c.get("RETRIEVAL", scope, t))); }
for (let r = 0; r < 4; r++) {
  let n = 0, miss = 0, next = 0; const end = performance.now() + 2000; const c0 = process.cpuUsage();
  await Promise.all(Array.from({ length: 64 }, async () => { while (performance.now() < end) { if (await c.get("RETRIEVAL", scope, texts[next++ % 2000]!)) n++; else miss++; } }));
  const cpu = process.cpuUsage(c0);
  console.log((n / 2).toFixed(0), "gets/s", miss, "client cpu us/get", ((cpu.user + cpu.system) / n).toFixed(1));
}
c.close(); await service.stop(); await server.stop(); process.exit(0);
