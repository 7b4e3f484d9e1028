import type { ServiceImpl, Transport } from "@connectrpc/connect";
import type { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import type { Clock } from "../runtime/clock.js";
import { checkHealth } from "../runtime/health-client.js";

/** A service behind the gateway. */
export interface Backend {
  /** The short name, e.g. "rag". */
  readonly name: string;
  /** The full name, e.g. "ragents.rag.v1.RagService". */
  readonly typeName: string;
  readonly transport: Transport;
}

/** A service that has not answered by then is shown as unreachable. */
const CHECK_TIMEOUT_MS = 2_000;

/** Handlers of the gateway's own service. */
export function gatewayHandlers(deps: {
  backends: readonly Backend[];
  version: string;
  clock: Clock;
}): ServiceImpl<typeof GatewayService> {
  const started = deps.clock.monotonic();
  return {
    async getHealth() {
      const services = await Promise.all(
        deps.backends.map(async ({ name, typeName, transport }) => ({
          name,
          status: await checkHealth(transport, typeName, CHECK_TIMEOUT_MS),
        })),
      );
      return {
        status: overall(services),
        version: deps.version,
        uptimeSeconds: Math.round(deps.clock.monotonic() - started) / 1000,
        services,
      };
    },
  };
}

function overall(services: { name: string; status: string }[]): string {
  if (services.every(({ status }) => status === "serving")) return "healthy";
  const agent = services.find(({ name }) => name === "agent");
  return agent?.status === "serving" ? "degraded" : "unhealthy";
}
