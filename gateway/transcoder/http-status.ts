import { create, createRegistry, fromBinary, type JsonObject, type JsonValue, type Registry } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { file_google_rpc_error_details, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { HttpError } from "./http-error.js";
import { JsonCodec } from "./json-codec.js";

/** HTTP status of each gRPC code, as google/rpc/code.proto maps them. */
const httpStatusByCode: Record<Code, number> = {
  [Code.Canceled]: 499,
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 504,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 400,
  [Code.Aborted]: 409,
  [Code.OutOfRange]: 400,
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};

/** google.rpc.Status in JSON: the body of every error. */
export interface StatusJson extends JsonObject {
  code: number;
  message: string;
  details: JsonObject[];
}

/** An error ready to be sent. */
export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: StatusJson;
}

/** The HTTP status for a gRPC code. */
export function httpStatus(code: Code): number {
  return httpStatusByCode[code] ?? 500;
}

/** A registry of the given types and the standard details of google.rpc. */
export function withStandardDetails(registry: Registry | undefined): Registry {
  return createRegistry(...(registry ? [registry] : []), file_google_rpc_error_details);
}

/**
 * Turns whatever was thrown into an error response. Errors that carry no details and come from below (a refused
 * connection, a broken handler) get a plain sentence: their own text names hosts and code. Callers log the original.
 */
export function toErrorResponse(thrown: unknown, registry: Registry, errorDomain: string): ErrorResponse {
  if (thrown instanceof HttpError) {
    const { status, headers, code } = thrown;
    return { status, headers, body: toStatusJson(thrown.toConnectError(errorDomain), code, registry) };
  }
  const error = thrown instanceof ConnectError ? thrown : new ConnectError("", Code.Internal);
  return {
    status: httpStatus(error.code),
    // HTTP asks for the scheme with every 401.
    headers: error.code === Code.Unauthenticated ? { "www-authenticate": "Bearer" } : retryAfter(error),
    body: toStatusJson(error, error.code, registry),
  };
}

const plainMessages: Partial<Record<Code, string>> = {
  [Code.Unknown]: "The request failed inside the server.",
  [Code.Internal]: "The request failed inside the server.",
  [Code.DataLoss]: "The request failed inside the server.",
  [Code.Unavailable]: "The service cannot be reached now; retry later.",
};

function toStatusJson(error: ConnectError, code: Code, registry: Registry): StatusJson {
  const plain = error.details.length === 0 ? plainMessages[error.code] : undefined;
  const codec = new JsonCodec(registry);
  const details = error.details.map((detail) => detailToJson(detail, codec, registry));
  return { code, message: plain ?? error.rawMessage, details };
}

function detailToJson(detail: ConnectError["details"][number], codec: JsonCodec, registry: Registry): JsonObject {
  if ("desc" in detail) {
    const typeUrl = `type.googleapis.com/${detail.desc.typeName}`;
    return { "@type": typeUrl, ...(codec.toJson(detail.desc, create(detail.desc, detail.value)) as JsonObject) };
  }
  const typeUrl = `type.googleapis.com/${detail.type}`;
  const desc = registry.getMessage(detail.type);
  if (desc === undefined) return { "@type": typeUrl, value: Buffer.from(detail.value).toString("base64") };
  try {
    const json: JsonValue = codec.toJson(desc, fromBinary(desc, detail.value));
    return { "@type": typeUrl, ...(json as JsonObject) };
  } catch {
    // A detail that cannot be read must not hide the error that it belongs to.
    return { "@type": typeUrl, value: Buffer.from(detail.value).toString("base64") };
  }
}

/** Retry-After counts in whole seconds: rounded up, or clients would come back too early. */
function retryAfter(error: ConnectError): Record<string, string> {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay === undefined) return {};
  return { "retry-after": String(Number(delay.seconds) + (delay.nanos > 0 ? 1 : 0)) };
}
