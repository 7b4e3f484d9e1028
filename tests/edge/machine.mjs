// A machine of a mesh as one process: a replica of each service and of the gateway, as they were built, on an address of its own.
// Beside the services' variables: MESH_DNS, the port of the name server that knows where the other replicas are.
import dns from "node:dns";
import { startGatewayService } from "../../dist/gateway/service.js";
import { systemClock } from "../../dist/runtime/clock.js";
import { createLogger } from "../../dist/runtime/logger.js";
import { createMetrics } from "../../dist/runtime/metrics.js";
import { startProbes } from "../../dist/runtime/probes.js";
import { untilSignalled } from "../../dist/runtime/shutdown.js";
import { startAgentService } from "../../dist/services/agent/service.js";
import { startCacheService } from "../../dist/services/cache/service.js";
import { startCheckpointService } from "../../dist/services/checkpoint/service.js";
import { startRagService } from "../../dist/services/rag/service.js";
import { startRateLimitService } from "../../dist/services/ratelimit/service.js";

const resolver = new dns.promises.Resolver();
resolver.setServers([`127.0.0.1:${process.env.MESH_DNS}`]);
// What a cluster's resolv.conf does: gRPC looks names up by this.
dns.promises.lookup = async (name) => (await resolver.resolve4(name)).map((address) => ({ address, family: 4 }));

const host = { logger: createLogger({ level: "warn" }), metrics: createMetrics(), clock: systemClock };
const services = [];
for (const start of [startCacheService, startCheckpointService, startRateLimitService, startRagService, startAgentService, startGatewayService]) {
  services.push(await start(process.env, host));
}
const notReady = async () => (await Promise.all(services.map((service) => service.notReady()))).flat();
await startProbes({ host: process.env.RAGENTS_HOST, port: Number(process.env.RAGENTS_METRICS_PORT), metrics: host.metrics, notReady });

await untilSignalled();
await Promise.all(services.map((service) => service.stop(20_000)));
process.exit(0);
