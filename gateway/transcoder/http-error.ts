import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";

/** Why the HTTP layer itself refused a request; the reason of its google.rpc.ErrorInfo. */
export type HttpErrorReason =
  | "BODY_TIMEOUT"
  | "BODY_TOO_LARGE"
  | "INVALID_FIELD"
  | "MALFORMED_BODY"
  | "MALFORMED_HEADER"
  | "MALFORMED_JSON"
  | "MALFORMED_URL"
  | "METHOD_NOT_ALLOWED"
  | "NOT_ACCEPTABLE"
  | "ORIGIN_NOT_ALLOWED"
  | "ROUTE_NOT_FOUND"
  | "UNEXPECTED_BODY"
  | "UNSUPPORTED_MEDIA_TYPE";

/** What is wrong with one field of a request. */
export interface FieldViolation {
  /** Path of the field in the request message: `filters`, `documents[2].id`, `labels["a"]`; "" for the whole body. */
  readonly field: string;
  /** What is wrong and what is expected, without the field's name in front. */
  readonly description: string;
}

interface HttpErrorExtras {
  readonly metadata?: Record<string, string>;
  readonly headers?: Record<string, string>;
  readonly violations?: readonly FieldViolation[];
}

/** An error of the HTTP layer, before any RPC was called. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: Code;
  readonly reason: HttpErrorReason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];

  constructor(status: number, code: Code, reason: HttpErrorReason, message: string, extras: HttpErrorExtras = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.reason = reason;
    this.metadata = extras.metadata ?? {};
    this.headers = extras.headers ?? {};
    this.violations = extras.violations ?? [];
  }

  /** The same error with its reason as google.rpc.ErrorInfo of the given domain, and its fields as BadRequest. */
  toConnectError(domain: string): ConnectError {
    const error = new ConnectError(this.message, this.code);
    error.details.push({
      desc: ErrorInfoSchema,
      value: { reason: this.reason, domain, metadata: { ...this.metadata } },
    });
    if (this.violations.length > 0) {
      error.details.push({ desc: BadRequestSchema, value: { fieldViolations: [...this.violations] } });
    }
    return error;
  }
}

/** 400: fields of the request that do not fit its schema. */
export function invalidFields(violations: readonly FieldViolation[]): HttpError {
  const texts = violations.map(({ field, description }) => `${field === "" ? "the body" : field}: ${description}`);
  return new HttpError(400, Code.InvalidArgument, "INVALID_FIELD", texts.join("; "), { violations });
}

/** 404: no route has this path. */
export function routeNotFound(path: string): HttpError {
  const shown = path.length > 200 ? `${path.slice(0, 200)}...` : path;
  return new HttpError(404, Code.NotFound, "ROUTE_NOT_FOUND", `There is no route ${shown}.`);
}

/** 405: the path has routes, but none for the method. */
export function methodNotAllowed(method: string, allow: readonly string[]): HttpError {
  const allowed = allow.join(", ");
  return new HttpError(
    405,
    Code.Unimplemented,
    "METHOD_NOT_ALLOWED",
    `${method} is not allowed here; allowed: ${allowed}.`,
    {
      metadata: { allow: allowed },
      headers: { allow: allowed },
    },
  );
}

/** 400: the request's URL, headers or body cannot be read. */
export function malformed(reason: HttpErrorReason & `MALFORMED_${string}`, message: string): HttpError {
  return new HttpError(400, Code.InvalidArgument, reason, message);
}

/** 400: a body where the route takes none. */
export function unexpectedBody(): HttpError {
  return new HttpError(
    400,
    Code.InvalidArgument,
    "UNEXPECTED_BODY",
    "This method takes no body; send its fields in the URL.",
  );
}

/** 406: none of the offered media types is accepted. */
export function notAcceptable(offered: readonly string[]): HttpError {
  const message = `The answer can only be sent as ${offered.join(" or ")}; name it in the Accept header.`;
  return new HttpError(406, Code.InvalidArgument, "NOT_ACCEPTABLE", message, {
    metadata: { offered: offered.join(", ") },
  });
}

/** 413: the body is above the cap. The connection closes: the rest of the body is not read. */
export function bodyTooLarge(maxBytes: number, what = "The body"): HttpError {
  return new HttpError(413, Code.InvalidArgument, "BODY_TOO_LARGE", `${what} is larger than ${maxBytes} bytes.`, {
    metadata: { max_bytes: String(maxBytes) },
    headers: { connection: "close" },
  });
}

/** 408: the body did not arrive in time. The connection closes: the rest of the body is not read. */
export function bodyTimeout(seconds: number): HttpError {
  return new HttpError(408, Code.DeadlineExceeded, "BODY_TIMEOUT", `The body did not arrive within ${seconds} s.`, {
    headers: { connection: "close" },
  });
}

/** 415: the body is of a media type or encoding that the route does not read. */
export function unsupportedMediaType(expected: string): HttpError {
  return new HttpError(415, Code.InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", `The body must be sent as ${expected}.`, {
    metadata: { expected },
    headers: { "accept-post": expected },
  });
}

/** 403: a page of another origin tried to change something. */
export function originNotAllowed(origin: string): HttpError {
  return new HttpError(
    403,
    Code.PermissionDenied,
    "ORIGIN_NOT_ALLOWED",
    "Pages of this origin are not allowed to call the API.",
    {
      metadata: { origin },
    },
  );
}
