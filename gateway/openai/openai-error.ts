import type { Registry } from "@bufbuild/protobuf";
import { ERROR_DOMAIN } from "../../runtime/errors.js";
import { type StatusJson, toErrorResponse } from "../transcoder/http-status.js";

/** An error's body in OpenAI's form. */
export interface OpenAiErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    /** The parameter at fault, e.g. "messages[0].content". */
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** An error ready to be sent. */
export interface OpenAiErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: OpenAiErrorBody;
}

/** A request that does not fit the API. */
export class OpenAiError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;

  constructor(status: number, message: string, param: string | null, code: string | null) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** 400: a parameter that is missing or wrong. */
export function invalidParameter(param: string, message: string): OpenAiError {
  return new OpenAiError(400, `${param}: ${message}`, param, "invalid_value");
}

/** 400: a parameter that this server cannot honour: to ignore it would be another answer than the one asked for. */
export function unsupportedParameter(param: string, message: string): OpenAiError {
  return new OpenAiError(400, `${param}: ${message}`, param, "unsupported_parameter");
}

/** Codes that OpenAI's clients know, by our reasons; others go as they are, in lower case. */
const CODES: Readonly<Record<string, string>> = {
  UNKNOWN_AGENT: "model_not_found",
  UNKNOWN_EMBEDDING_MODEL: "model_not_found",
  CREDENTIALS_MISSING: "invalid_api_key",
  CREDENTIALS_INVALID: "invalid_api_key",
  BUCKET_EMPTY: "rate_limit_exceeded",
  BUDGET_EXHAUSTED: "insufficient_quota",
  INVALID_FIELD: "invalid_value",
};

/** The parameters of OpenAI's requests by the fields of ours that they become. */
const PARAMETERS: readonly (readonly [RegExp, string])[] = [
  [/^(query|history|tool_rounds|config_overrides\.instructions)\b/, "messages"],
  [/^caller_tools\b/, "tools"],
  [/^texts\b/, "input"],
  [/^(agent_type|model)$/, "model"],
  [/^config_overrides\.max_tokens$/, "max_completion_tokens"],
  [/^config_overrides\.temperature$/, "temperature"],
];

/** Turns whatever was thrown into an error of OpenAI's form, with the HTTP status that OpenAI's clients retry by. */
export function toOpenAiError(thrown: unknown, registry: Registry): OpenAiErrorResponse {
  if (thrown instanceof OpenAiError) {
    const { status, message, param, code } = thrown;
    return { status, headers: {}, body: { error: { message, type: typeOf(status), param, code } } };
  }
  const { status: mapped, headers, body } = toErrorResponse(thrown, registry, ERROR_DOMAIN);
  const { reason, field } = detailsOf(body);
  const code = reason === undefined ? null : (CODES[reason] ?? reason.toLowerCase());
  const status = code === "model_not_found" ? 404 : mapped;
  const param = field === undefined ? null : (PARAMETERS.find(([pattern]) => pattern.test(field))?.[1] ?? field);
  return { status, headers, body: { error: { message: body.message, type: typeOf(status), param, code } } };
}

function detailsOf({ details }: StatusJson): { reason?: string; field?: string } {
  const all = details as { reason?: string; field_violations?: { field?: string }[] }[];
  const reason = all.find((detail) => detail.reason !== undefined)?.reason;
  const field = all.find((detail) => detail.field_violations !== undefined)?.field_violations?.[0]?.field;
  return { ...(reason !== undefined && { reason }), ...(field !== undefined && field !== "" && { field }) };
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}
