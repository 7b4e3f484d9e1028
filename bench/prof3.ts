import { createCacheClient } from "../clients/cache/index.js";
import { createGrpcTransport } from "../runtime/grpc-transport.js";
import { CacheService } from "../gen/ragents/cache/v1/cache_service_pb.js";
let calls = 0; let dur = 0;
const transport = createGrpcTransport({ address: process.argv[2]!, services: [CacheService], interceptors: [(next) => async (r) => { calls++; const t = performance.now(); const x = await next(r); dur += performance.now() - t; return x; }] });
const c = createCacheClient({ transport, localBytes: 0 });
const scope = { collection: "bench", epoch: 1, model: "static-256", parameters: "{}" };
const texts = Array.from({ length: 2000 }, (_, i) => `What does paragraph ${i} of the handbook say?`);
for (const t of texts) { do await c.put("RETRIEVAL", scope, t, Buffer.alloc(1500,65)); while (!(await c.get("RETRIEVAL", scope, t))); }
for (let r = 0; r < 5; r++) {
  let n = 0, miss = 0, next = 0; calls = 0; dur = 0; const t0 = performance.now(); const end = t0 + 2000; const c0 = process.cpuUsage();
  await Promise.all(Array.from({ length: 64 }, async () => { while (performance.now() < end) { if (await c.get("RETRIEVAL", scope, texts[next++ % 2000]!)) n++; else miss++; } }));
  const cpu = process.cpuUsage(c0); const el = performance.now() - t0;
  console.log((n / el * 1000).toFixed(0), "gets/s", miss, "calls", calls, "batch", (n / calls).toFixed(1), "ms/call", (dur / calls).toFixed(2), "client cpu us/get", ((cpu.user + cpu.system) / n).toFixed(1));
}
c.close(); process.exit(0);
