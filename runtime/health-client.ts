import { createClient, type Transport } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../gen/grpc/health/v1/health_pb.js";

export type ServingState = "serving" | "not_serving" | "unreachable";

/** Asks a server by the gRPC health protocol; a server that does not answer within `timeoutMs` is unreachable. Never rejects. */
export async function checkHealth(transport: Transport, service: string, timeoutMs: number): Promise<ServingState> {
  try {
    const { status } = await createClient(Health, transport).check({ service }, { timeoutMs });
    return status === Status.SERVING ? "serving" : "not_serving";
  } catch {
    return "unreachable";
  }
}
