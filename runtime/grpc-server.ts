import type { DescService } from "@bufbuild/protobuf";
import type { Interceptor, ServiceImpl } from "@connectrpc/connect";
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { mountService } from "./grpc-handler.js";
import type { Metrics } from "./metrics.js";
import { addReflection } from "./reflection.js";

// grpc-js prints to stderr by itself what it also reports as an error; what is printed is ours to say.
setLogVerbosity(logVerbosity.NONE);

/** A service and its handlers, before it is mounted anywhere. */
export interface ServiceMount {
  readonly service: DescService;
  readonly implementation: Partial<ServiceImpl<DescService>>;
}

/** Pairs a service with its handlers; every RPC must have one. */
export function mount<S extends DescService>(service: S, implementation: ServiceImpl<S>): ServiceMount {
  return { service, implementation: implementation as Partial<ServiceImpl<DescService>> };
}

export interface GrpcServerOptions {
  /** Where to listen, e.g. "127.0.0.1:9101"; port 0 takes any free one. */
  host: string;
  port: number;
  /** Where the services' calls are shown from the start on, before the first. */
  metrics?: Metrics;
  services: ServiceMount[];
  interceptors: Interceptor[];
  limits?: Partial<GrpcServerLimits>;
  /** TLS of the connections. Default: in the clear. */
  credentials?: ServerCredentials | undefined;
}

/** What a server accepts. */
export interface GrpcServerLimits {
  /** Largest message received or sent, in bytes. */
  maxMessageBytes: number;
  /** Largest metadata of a call, in bytes of keys and values. */
  maxMetadataBytes: number;
  /** Deadline of a unary call whose caller gave none, in milliseconds. */
  unaryDeadlineMs: number;
  /** Deadline of a streaming call whose caller gave none, in milliseconds. */
  streamDeadlineMs: number;
  /** Connections are closed after this time (+-10 %), so that new replicas get traffic, in milliseconds. */
  maxConnectionAgeMs: number;
  /** How long calls on a closed connection may go on, in milliseconds. */
  maxConnectionAgeGraceMs: number;
}

export const DEFAULT_LIMITS: GrpcServerLimits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxMetadataBytes: 8 * 1024,
  unaryDeadlineMs: 30_000,
  streamDeadlineMs: 3_600_000,
  maxConnectionAgeMs: 90_000,
  maxConnectionAgeGraceMs: 300_000,
};

export interface GrpcServer {
  /** host:port with the port that was bound. */
  readonly address: string;
  /** What health checks see, for the server and each of its services. */
  setServing(serving: boolean): void;
  /** Refuses new calls, lets those under way end for at most `graceMs`, then cuts them off. */
  drain(graceMs: number): Promise<void>;
}

/** Starts a server with health, reflection and the given services. Rejects when the port is taken. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const server = new Server({
    "grpc.max_receive_message_length": limits.maxMessageBytes,
    "grpc.max_send_message_length": limits.maxMessageBytes,
    "grpc.max_connection_age_ms": limits.maxConnectionAgeMs,
    "grpc.max_connection_age_grace_ms": limits.maxConnectionAgeGraceMs,
    "grpc.keepalive_time_ms": 30_000,
  });
  for (const service of options.services) mountService(server, service, options.interceptors, limits);
  const names = ["", ...options.services.map(({ service }) => service.typeName)];
  for (const { service } of options.services) options.metrics?.expectRpcs(service);
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, "SERVING" as const])));
  health.addToServer(server);
  addReflection(
    server,
    options.services.map(({ service }) => service),
  );
  const port = await bind(server, options.host, options.port, options.credentials ?? ServerCredentials.createInsecure());

  const setServing = (serving: boolean) => {
    for (const name of names) health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  };
  return {
    address: `${options.host}:${port}`,
    setServing,
    async drain(graceMs) {
      setServing(false);
      await new Promise<void>((resolve) => {
        const cutOff = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, graceMs);
        server.tryShutdown(() => {
          clearTimeout(cutOff);
          resolve();
        });
      });
    },
  };
}

/** The port is used by someone else. */
export class PortInUseError extends Error {
  override name = "PortInUseError";
  constructor(
    readonly host: string,
    readonly port: number,
  ) {
    super(`Port ${port} on ${host} is in use.`);
  }
}

function bind(server: Server, host: string, port: number, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
      if (error === null) return resolve(bound);
      reject(/EADDRINUSE|address already in use/i.test(error.message) ? new PortInUseError(host, port) : error);
    });
  });
}
