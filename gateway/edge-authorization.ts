import type { IncomingMessage, Server } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Access } from "../gen/ragents/auth/v1/access_pb.js";
import type { Identity } from "../runtime/call-context.js";
import { toMeshError } from "../runtime/errors.js";
import { PortInUseError } from "../runtime/grpc-server.js";
import { toStatusBytes } from "../runtime/grpc-status.js";
import { accessOf } from "../runtime/identity/access.js";
import { IDENTITY_HEADER } from "../runtime/identity/identity-token.js";
import type { PemFiles } from "../runtime/tls/certificate-files.js";
import { createHttpServer } from "./http-listener.js";
import type { Authenticator } from "./identity/authenticator.js";
import { httpStatus } from "./transcoder/http-status.js";
import type { HeaderOf, UpstreamHeaders } from "./upstream-headers.js";

/** What Envoy's rate limits go by. */
const TENANT_HEADER = "x-ragents-tenant";
const TIER_HEADER = "x-ragents-tier";
const STRANGER_HEADER = "x-ragents-stranger";

export interface EdgeAuthorizationOptions {
  host: string;
  port: number;
  /** Lets in who has a certificate of the mesh. Default: in the clear. */
  certificates?: PemFiles | undefined;
  authenticator: Authenticator;
  /** Makes the headers that tell a service who calls; throws what a caller is told that may not. */
  upstream: UpstreamHeaders;
  /** The RPCs that gRPC clients call through Envoy. */
  methods: readonly DescMethod[];
  /** Hears of failures that are nobody's but ours. */
  onError: (error: unknown) => void;
}

/**
 * Answers Envoy's question who sends a request (its filter ext_authz over HTTP): a request with the same path and credentials,
 * without the body. The answer to a gRPC call of a service has that service's signed identity, or refuses the call. All other
 * requests are the gateway's, which checks them itself: of those only the limits' headers are told. Nobody but Envoy may reach
 * the port, for the identities must not get out of the mesh. Rejects with PortInUseError when the port is taken.
 */
export async function startEdgeAuthorization(options: EdgeAuthorizationOptions): Promise<Server> {
  const methods = new Map(options.methods.map((method) => [`/${method.parent.typeName}/${method.name}`, method]));
  const server = createHttpServer({ maxHeaderSize: 32 * 1024, keepAliveTimeout: 75_000 }, options.certificates, (request, response) => {
    const method = isGrpc(request) ? methods.get((request.url ?? "").split("?")[0]!) : undefined;
    answer(options, (name) => request.headers[name]?.toString(), method).then(
      (headers) => response.writeHead(200, headers).end(),
      (thrown: unknown) => {
        const error = toMeshError(thrown);
        if (error.code === Code.Internal) options.onError(thrown);
        // Envoy makes of it what the client's protocol has for errors; gRPC clients get the details too.
        const details = Buffer.from(toStatusBytes(error)).toString("base64");
        response.writeHead(httpStatus(error.code), { "grpc-status-details-bin": details }).end(error.rawMessage);
      },
    );
    request.resume();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(error.code === "EADDRINUSE" ? new PortInUseError(options.host, options.port) : error));
    server.listen(options.port, options.host, resolve);
  });
  return server;
}

async function answer(options: EdgeAuthorizationOptions, headerOf: HeaderOf, method: DescMethod | undefined): Promise<Record<string, string>> {
  const { authenticator, upstream } = options;
  if (!authenticator.required()) return {};
  if (method === undefined || accessOf(method) === Access.PUBLIC) return limitHeaders(await identityOrStranger(authenticator, headerOf));
  const vouched = (await upstream(headerOf, method)).get(IDENTITY_HEADER);
  return { ...(vouched !== null && { [IDENTITY_HEADER]: vouched }), ...limitHeaders(await authenticator.identity(headerOf)) };
}

/** Who sends a request that the gateway will refuse itself when it must. */
async function identityOrStranger(authenticator: Authenticator, headerOf: HeaderOf): Promise<Identity | undefined> {
  try {
    return await authenticator.identity(headerOf);
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.Unauthenticated) return undefined;
    throw error;
  }
}

function limitHeaders(identity: Identity | undefined): Record<string, string> {
  if (identity === undefined) return { [STRANGER_HEADER]: "true" };
  return { [TENANT_HEADER]: identity.tenant, [TIER_HEADER]: identity.tier ?? "default" };
}

function isGrpc({ headers }: IncomingMessage): boolean {
  return /^application\/grpc(\+|;|$)/.test(headers["content-type"] ?? "");
}
