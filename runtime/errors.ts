import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";

/** google.rpc.ErrorInfo.domain of every error that is ours. */
export const ERROR_DOMAIN = "ragents";

/** A field that breaks a rule, by its path in the request, e.g. "config_overrides.top_k". */
export interface FieldViolation {
  field: string;
  description: string;
}

export interface MeshErrorOptions {
  /** Facts for programs, sent as ErrorInfo.metadata. Never a path, host or secret. */
  metadata?: Record<string, string>;
  /** When a retry can succeed, in milliseconds; sent as google.rpc.RetryInfo. */
  retryAfterMs?: number;
  /** The fields at fault; sent as google.rpc.BadRequest. */
  violations?: FieldViolation[];
  /** What really happened: logged beside the request id, never sent. */
  cause?: unknown;
}

/**
 * An error that a caller may see: a canonical code, our reason, and what to do. What asks to come back is said most often
 * when there is the least time: it has no stack.
 */
export function meshError(code: Code, reason: ErrorReason, message: string, options: MeshErrorOptions = {}): ConnectError {
  const make = () => new ConnectError(message, code, undefined, undefined, options.cause);
  const error = options.retryAfterMs === undefined ? make() : withoutStack(make);
  error.details.push({
    desc: ErrorInfoSchema,
    value: create(ErrorInfoSchema, {
      reason: reasonName(reason),
      domain: ERROR_DOMAIN,
      metadata: options.metadata ?? {},
    }),
  });
  if (options.violations !== undefined) {
    error.details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: options.violations }) });
  }
  if (options.retryAfterMs !== undefined) {
    const retryDelay = durationFromMs(Math.max(0, Math.ceil(options.retryAfterMs)));
    error.details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
  }
  return error;
}

/** Makes an error without its stack, which takes longer to write down than all else about it. */
export function withoutStack<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** INVALID_ARGUMENT for one field, for what the schema cannot say. */
export function invalidField(field: string, description: string, reason = ErrorReason.INVALID_FIELD): ConnectError {
  return meshError(Code.InvalidArgument, reason, `${field}: ${description}`, { violations: [{ field, description }] });
}

/** ErrorReason.BUCKET_EMPTY as "BUCKET_EMPTY", the form that travels. */
export function reasonName(reason: ErrorReason): string {
  return ErrorReason[reason];
}

/** The reason that an error carries, e.g. "COLLECTION_NOT_FOUND"; undefined when it is not one of ours. */
export function reasonOf(error: unknown): string | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  return error.findDetails(ErrorInfoSchema).find((info) => info.domain === ERROR_DOMAIN)?.reason;
}

/** Whether `error` is a ConnectError of this code. */
export function hasCode(error: unknown, code: Code): error is ConnectError {
  return error instanceof ConnectError && error.code === code;
}

/** The delay of the error's RetryInfo in milliseconds, or undefined. */
export function retryAfterMsOf(error: unknown): number | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}

/**
 * What a caller is shown of any thrown value: our errors and those of services
 * behind us as they are, all else INTERNAL without its message.
 * @param call the call that failed; its signal says whether its caller was the reason
 */
export function toMeshError(thrown: unknown, call?: { readonly signal: AbortSignal }): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const signal = call?.signal;
  if (signal?.aborted && signal.reason instanceof ConnectError) return signal.reason;
  if (thrown instanceof Error && (thrown.name === "AbortError" || thrown.name === "TimeoutError") && signal?.aborted) {
    return meshError(Code.Canceled, ErrorReason.CANCELLED, "The call was cancelled.", { cause: thrown });
  }
  return meshError(Code.Internal, ErrorReason.INTERNAL, "Internal error; the log has the cause under the request's id.", {
    cause: thrown,
  });
}
