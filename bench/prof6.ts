import { Redis } from "ioredis";
const c = new Redis("redis://127.0.0.1:7391");
const texts = Array.from({ length: 2000 }, (_, i) => `What does paragraph ${i} of the handbook say?`);
for (const t of texts) await c.set(t, Buffer.alloc(1500, 65));
for (let r = 0; r < 5; r++) {
  let n = 0, next = 0; const t0 = performance.now(); const end = t0 + 1500; const c0 = process.cpuUsage();
  await Promise.all(Array.from({ length: 64 }, async () => { while (performance.now() < end) { if (await c.getBuffer(texts[next++ % 2000]!)) n++; } }));
  const cpu = process.cpuUsage(c0); const el = performance.now() - t0;
  console.log((n / el * 1000).toFixed(0), "gets/s ioredis", "client cpu us/get", ((cpu.user + cpu.system) / n).toFixed(1));
}
process.exit(0);
