import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { CacheService } from "../gen/ragents/cache/v1/cache_service_pb.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";
import type { Mesh } from "./connection.js";

const JSON_FORM = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;

/** Shows which services serve, what the collections hold and how the cache does. Exit code 1 unless all serve. */
export async function status({ gateway, rag, cache }: Mesh, options: { json?: boolean }): Promise<void> {
  const [health, collections, stats] = await Promise.all([
    gateway.getHealth({}),
    rag.listCollections({ pageSize: 1000 }).catch(missing),
    cache.getStats({}).catch(missing),
  ]);
  if (health.status !== "healthy") process.exitCode = 1;
  if (options.json === true) {
    const json = {
      health: toJson(GatewayService.method.getHealth.output, health, JSON_FORM),
      ...(collections && { collections: toJson(RagService.method.listCollections.output, collections, JSON_FORM) }),
      ...(stats && { cache: toJson(CacheService.method.getStats.output, stats, JSON_FORM) }),
    };
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    return;
  }
  const lines = [`${health.status}, version ${health.version}, up ${Math.round(health.uptimeSeconds)} s`];
  for (const service of health.services) lines.push(`  ${service.name.padEnd(12)} ${service.status}`);
  lines.push("Collections");
  for (const { id, documentCount, chunkCount } of collections?.collections ?? []) {
    lines.push(`  ${id.padEnd(12)} ${documentCount} documents, ${chunkCount} chunks`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** What a service that is down cannot tell is left out; that the caller may not know it is said. */
function missing(error: unknown): undefined {
  const code = ConnectError.from(error).code;
  if (code === Code.Unauthenticated || code === Code.PermissionDenied) throw error;
}
