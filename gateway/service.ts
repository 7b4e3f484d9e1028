import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import { createRouterTransport } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import { CacheService } from "../gen/ragents/cache/v1/cache_service_pb.js";
import { CheckpointService } from "../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { IdentityService } from "../gen/ragents/gateway/v1/identity_service_pb.js";
import { RagService } from "../gen/ragents/rag/v1/rag_service_pb.js";
import { QueueService } from "../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { RateLimitService } from "../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { REQUEST_ID_HEADER } from "../runtime/call-context.js";
import { ERROR_DOMAIN, reasonName } from "../runtime/errors.js";
import { ConfigError } from "../runtime/config.js";
import { PortInUseError } from "../runtime/grpc-server.js";
import { createGrpcTransport } from "../runtime/grpc-transport.js";
import { serverInterceptors } from "../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../runtime/service.js";
import type { PemFiles } from "../runtime/tls/certificate-files.js";
import { TRACE_PARENT_HEADER, traceParentBelow } from "../runtime/tracing/trace-parent.js";
import { VERSION } from "../runtime/version.js";
import { type GatewayConfig, isLoopback, loadGatewayConfig, refuseStrangers } from "./config.js";
import { answerConnectCors, CONNECT_EXPOSED_HEADERS } from "./connect-cors.js";
import { proxyService } from "./connect-proxy.js";
import { type EdgeAuthorizationOptions, startEdgeAuthorization } from "./edge-authorization.js";
import { gatewayHandlers } from "./health.js";
import { createHttpServer } from "./http-listener.js";
import { httpMetrics } from "./http-metrics.js";
import { type Authentication, openAuthentication } from "./identity/authentication.js";
import { createDocsPage } from "./docs/docs-page.js";
import { createDocumentRoute } from "./docs/document-route.js";
import { apiDocument } from "./api-document.js";
import { createOpenAiApi } from "./openai/openai-api.js";
import { DEPRECATED, DEPRECATION_HEADER, usesDeprecated } from "./transcoder/deprecation.js";
import { createTranscoder } from "./transcoder/transcoder.js";
import { requestTraces } from "./request-traces.js";
import { RATE_LIMIT_HEADERS, rateLimitHeaders } from "./rate-limit-headers.js";
import { requestLimit } from "./request-limit.js";
import { upstreamHeaders } from "./upstream-headers.js";

/** Services whose RPCs REST, Connect and gRPC-Web clients reach. The others are for gRPC inside the mesh. */
const PUBLIC_SERVICES = [AgentService, RagService, CacheService] as const;

/** Streams may last as long as the work that they show, in milliseconds. */
const STREAM_TIMEOUT_MS = 3_600_000;
/** Everything but a run answers from stores, in milliseconds. */
const CALL_TIMEOUT_MS = 30_000;

/** Time in which a whole request must arrive, uploads included, in milliseconds; JSON has less (see the transcoder). */
const UPLOAD_TIMEOUT_MS = 3_600_000;

/** What pages of other origins may read of an answer's headers. */
const EXPOSED_HEADERS = [REQUEST_ID_HEADER, TRACE_PARENT_HEADER, DEPRECATION_HEADER, "retry-after", ...RATE_LIMIT_HEADERS];

/** How a form of files becomes an upload; the limits are those of UploadFile in the schema. */
const MULTIPART = {
  [`${RagService.typeName}.UploadDocuments`]: {
    header: "header",
    file: { field: "file", fileName: "document_id", mediaType: "mime_type" },
    data: "data",
    end: "end",
    maxFileBytes: 200 * 1024 * 1024,
    maxFiles: 20_000,
  },
};

/**
 * Starts the gateway: REST/JSON by google.api.http, Connect and gRPC-Web of the same services, its own health, and the
 * identities of clients. Rejects when the configuration is wrong, the store of keys cannot be reached or the port is taken.
 * @param shared how clients show who they are, where the process knows already; its owner closes it.
 */
export async function startGatewayService(
  env: NodeJS.ProcessEnv,
  host: ServiceHost,
  shared: { authentication?: Authentication } = {},
): Promise<RunningService> {
  const config = loadGatewayConfig(env);
  const authentication = shared.authentication ?? (await openAuthentication(env, host));
  const closeOwn = async () => {
    if (shared.authentication === undefined) await authentication.close();
  };
  try {
    refuseStrangers(config, authentication.required());
    refuseWithoutKeys(authentication, host);
    const gateway = await serve(config, authentication, host);
    return {
      ...gateway,
      async stop(graceMs) {
        await gateway.stop(graceMs);
        await closeOwn();
      },
    };
  } catch (error) {
    await closeOwn();
    throw error;
  }
}

/** Services that cannot check whom a call is for would take everybody for the local tenant. */
function refuseWithoutKeys(authentication: Authentication, { security }: ServiceHost): void {
  if (!authentication.configured || security?.vouches === true) return;
  throw new ConfigError(
    "Authentication is configured, but nothing tells the services who calls: set RAGENTS_IDENTITY_KEYS, here and for every service, " +
      "to a file that `ragents identity-keys FILE` makes.",
  );
}

async function serve(config: GatewayConfig, authentication: Authentication, host: ServiceHost): Promise<RunningService> {
  const backends = [
    { name: "agent", service: AgentService, address: config.RAGENTS_AGENT_ADDRESS },
    { name: "rag", service: RagService, address: config.RAGENTS_RAG_ADDRESS },
    { name: "cache", service: CacheService, address: config.RAGENTS_CACHE_ADDRESS },
    { name: "checkpoint", service: CheckpointService, address: config.RAGENTS_CHECKPOINT_ADDRESS },
    { name: "ratelimit", service: RateLimitService, address: config.RAGENTS_RATELIMIT_ADDRESS },
  ].map(({ name, service, address }) => ({
    name,
    typeName: service.typeName,
    transport: createGrpcTransport({ address, services: [service], security: host.security?.channel }),
  }));
  const own = createRouterTransport(
    ({ service }) => {
      service(GatewayService, gatewayHandlers({ backends, version: VERSION, clock: host.clock }));
      service(IdentityService, authentication.handlers);
    },
    { router: { interceptors: serverInterceptors(host) } },
  );
  const transportOf = (typeName: string) => backends.find((backend) => backend.typeName === typeName)?.transport ?? own;

  const timeoutMs = (method: DescMethod) => timeoutOf(method, config);
  const services = [...PUBLIC_SERVICES, GatewayService, IdentityService];
  const traces = requestTraces(host.tracer);
  const upstream = upstreamHeaders({ authenticator: authentication, security: host.security, traces, registry: host.metrics.registry });
  const http = httpMetrics(host.metrics.registry, host.clock);
  const cors = { allowedOrigins: config.RAGENTS_CORS_ORIGINS, exposedHeaders: EXPOSED_HEADERS };
  const requestHeaders = (request: IncomingMessage, method: DescMethod) => {
    http.name(request, rpcName(method));
    return upstream((name) => request.headers[name]?.toString(), method);
  };
  const transcoder = createTranscoder({
    services,
    transport: (service) => transportOf(service.typeName),
    errorDomain: ERROR_DOMAIN,
    // Document ids hold slashes, which generated clients escape.
    decodeSlashes: true,
    requestHeaders,
    timeoutMs,
    maxBodyBytes: config.RAGENTS_MAX_BODY_BYTES,
    cors,
    multipart: MULTIPART,
    errorHeaders: rateLimitHeaders,
    onError: (err, { method, status }) => {
      if (status >= 500) host.logger.error("request_failed", { rpc: method?.name, status, err });
    },
  });
  for (const { method, httpMethod } of transcoder.routes) http.expect(rpcName(method), httpMethod);
  for (const { methods } of services) for (const method of methods) http.expect(rpcName(method), "POST");
  host.metrics.expectRpcs(GatewayService);
  const document = createDocumentRoute(apiDocument(transcoder.routes, MULTIPART));
  const docs = createDocsPage();
  const openAi = createOpenAiApi({
    transport: (service) => transportOf(service.typeName),
    requestHeaders,
    timeoutMs,
    maxBodyBytes: config.RAGENTS_MAX_BODY_BYTES,
    cors,
    clock: host.clock,
    errorHeaders: rateLimitHeaders,
    onError: (err, status) => host.logger.error("request_failed", { api: "openai", status, err }),
  });
  const rest = async (request: IncomingMessage, response: ServerResponse) => {
    for (const part of [document, docs, openAi]) if (await part.handle(request, response)) return;
    await transcoder.handle(request, response);
  };
  const connect = connectNodeAdapter({
    routes: (router) => {
      for (const service of services) proxyService(router, service, transportOf(service.typeName), upstream);
    },
    grpc: false,
    maxTimeoutMs: STREAM_TIMEOUT_MS,
    readMaxBytes: config.RAGENTS_MAX_BODY_BYTES,
    fallback: rest as never,
  });
  /** RPCs by the paths that Connect and gRPC-Web call them at. */
  const rpcs = new Map(services.flatMap(({ methods }) => methods.map((method) => [`/${rpcName(method)}`, method])));
  const requests = requestLimit(config.RAGENTS_MAX_REQUESTS);
  const connectCors = { ...cors, exposedHeaders: [...EXPOSED_HEADERS, ...CONNECT_EXPOSED_HEADERS] };
  // Idle connections outlive those of the balancer in front (60 s), so that it never writes to one that is just being closed.
  const limits = { maxHeaderSize: 16 * 1024, requestTimeout: UPLOAD_TIMEOUT_MS, headersTimeout: 10_000, keepAliveTimeout: 75_000 };
  const certificates = config.RAGENTS_GATEWAY_TLS ? requireCertificates(host) : undefined;
  const server = createHttpServer(limits, certificates, (request, response) => {
    const id = requestId(request);
    request.headers[REQUEST_ID_HEADER] = id;
    response.setHeader(REQUEST_ID_HEADER, id);
    http.observe(request, response);
    traces.observe(request, response);
    const traceParent = traceParentBelow(request.headers[TRACE_PARENT_HEADER]?.toString());
    request.headers[TRACE_PARENT_HEADER] = traceParent;
    response.setHeader(TRACE_PARENT_HEADER, traceParent);
    if (config.loopback && !authentication.required() && !isLoopback(hostName(request))) return refuseForeignHost(response);
    const called = rpcs.get((request.url ?? "").split("?")[0]!);
    if (called !== undefined) {
      http.name(request, rpcName(called));
      if (usesDeprecated(called)) response.setHeader(DEPRECATION_HEADER, DEPRECATED);
    }
    if (!requests.admit(request, response)) return;
    if (called !== undefined && answerConnectCors(connectCors, request, response)) return;
    connect(request, response);
  });
  const port = await listen(server, config);
  const authorization = await startAuthorization(config, {
    certificates,
    authenticator: authentication,
    upstream,
    onError: (err) => host.logger.error("authorization_failed", { err }),
  }).catch(async (error: unknown) => {
    await close(server, 0);
    throw error;
  });
  return {
    name: "gateway",
    address: `${config.RAGENTS_HOST}:${port}`,
    // Not that of the key store: all replicas share it, and keys that were used lately are known without it.
    notReady: async () => [],
    async stop(graceMs) {
      await close(server, graceMs);
      if (authorization !== undefined) await close(authorization, 0);
      for (const { transport } of backends) transport.close();
    },
  };
}

function requireCertificates({ security }: ServiceHost): PemFiles {
  if (security?.pem !== undefined) return security.pem;
  throw new ConfigError("RAGENTS_GATEWAY_TLS needs RAGENTS_TLS_CERT, RAGENTS_TLS_KEY and RAGENTS_TLS_CA.");
}

/** Where Envoy asks who calls, when there is a port for it. */
async function startAuthorization(config: GatewayConfig, options: Omit<EdgeAuthorizationOptions, "host" | "port" | "methods">) {
  const { RAGENTS_HOST: host, RAGENTS_AUTHORIZATION_PORT: port } = config;
  if (port === undefined) return undefined;
  const services = [AgentService, RagService, CacheService, CheckpointService, RateLimitService, QueueService];
  return startEdgeAuthorization({ host, port, methods: services.flatMap(({ methods }) => methods), ...options });
}

function rpcName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

function timeoutOf(method: DescMethod, config: GatewayConfig): number {
  if (method.parent.typeName === AgentService.typeName) return config.RAGENTS_QUERY_TIMEOUT_SECONDS * 1000;
  return method.methodKind === "unary" ? CALL_TIMEOUT_MS : STREAM_TIMEOUT_MS;
}

/** The client's request id when it is one, else a new one. */
function requestId(request: IncomingMessage): string {
  const sent = request.headers[REQUEST_ID_HEADER];
  return typeof sent === "string" && /^[\w.-]{1,64}$/.test(sent) ? sent : randomUUID();
}

/** The name in the Host header, without the port. */
function hostName(request: IncomingMessage): string {
  return (request.headers.host ?? "").replace(/:\d+$/, "");
}

/** A web page whose name was made to point at this machine must not reach a mesh without keys (DNS rebinding). */
function refuseForeignHost(response: ServerResponse): void {
  const message = "This mesh serves its own machine only: address it as localhost or 127.0.0.1.";
  const reason = reasonName(ErrorReason.FOREIGN_HOST);
  const details = [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: ERROR_DOMAIN, metadata: {} }];
  response.writeHead(403, { "content-type": "application/json" }).end(JSON.stringify({ code: 7, message, details }));
}

function listen(server: Server, config: GatewayConfig): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "EADDRINUSE" ? new PortInUseError(config.RAGENTS_HOST, config.RAGENTS_PORT) : error),
    );
    server.listen(config.RAGENTS_PORT, config.RAGENTS_HOST, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : config.RAGENTS_PORT);
    });
  });
}

/** Stops listening, closes idle connections, and after `graceMs` the others. */
function close(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cutOff = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cutOff);
      resolve();
    });
    server.closeIdleConnections();
  });
}
