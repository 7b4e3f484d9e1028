import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";

/** The rag service's RPCs, and an end. */
export type RagClient = Client<typeof RagService> & { close(): void };

export interface RagClientOptions extends ClientSecurityOptions {
  /** Where the service is: host:port, or dns:///name:port for every replica of it. Default 127.0.0.1:9104. */
  address?: string;
  /** Takes the place of the address; its owner closes it. */
  transport?: Transport;
}

const DEFAULT_ADDRESS = "127.0.0.1:9104";

/** A client of the rag service. It connects when it is first used. */
export function createRagClient(options: RagClientOptions = {}): RagClient {
  const own =
    options.transport === undefined
      ? createGrpcTransport({ address: options.address ?? DEFAULT_ADDRESS, services: [RagService], security: channelSecurity(options) })
      : undefined;
  return { ...createClient(RagService, (options.transport ?? own)!), close: () => own?.close() };
}
