import { Code, type ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../errors.js";

/** Statuses that a later try may not see again. */
const TRANSIENT = new Set([408, 409, 425, 429]);

/**
 * What a caller is told of a provider's failure: UNAVAILABLE when a retry can
 * help, with the provider's own Retry-After, else FAILED_PRECONDITION. The cause
 * says what failed, without what the provider said: some repeat the prompt.
 */
export function modelUnavailable(model: string, thrown: unknown, now = Date.now()): ConnectError {
  const { status, headers, tooLong } = httpFailure(thrown);
  const cause = new Error(factsOf(thrown));
  const metadata = { model };
  if (tooLong) {
    const message = `The question with its passages and history is longer than the model ${model} takes; lower top_k or begin a new thread.`;
    return meshError(Code.FailedPrecondition, ErrorReason.MODEL_UNAVAILABLE, message, { metadata, cause });
  }
  if (status !== undefined && status < 500 && !TRANSIENT.has(status)) {
    const message = `The model ${model} refused the request (HTTP ${status}); check its key, name and address in the configuration.`;
    return meshError(Code.FailedPrecondition, ErrorReason.MODEL_UNAVAILABLE, message, { metadata, cause });
  }
  const retryAfterMs = retryAfter(headers, now);
  return meshError(Code.Unavailable, ErrorReason.MODEL_UNAVAILABLE, `The model ${model} cannot answer now; try again.`, {
    metadata,
    cause,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What kinds of errors these are, outermost first, e.g. "APIConnectionError <- TypeError <- Error ECONNREFUSED". */
function factsOf(thrown: unknown): string {
  const facts: string[] = [];
  for (let error = thrown; error instanceof Error && facts.length < 4; error = error.cause) {
    const { status, code } = error as { status?: unknown; code?: unknown };
    const known = [typeof status === "number" ? `HTTP ${status}` : undefined, /^E[A-Z]+$/.test(String(code)) ? String(code) : undefined];
    facts.push([error.constructor.name, ...known].filter((fact) => fact !== undefined).join(" "));
  }
  return facts.join(" <- ") || "not an error";
}

/** The HTTP answer behind a provider's error, which LangChain may have wrapped. */
function httpFailure(thrown: unknown): { status?: number; headers?: Headers; tooLong: boolean } {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; error = error.cause, depth += 1) {
    const { status, headers } = error as { status?: unknown; headers?: unknown };
    if (typeof status === "number") return { status, tooLong: isTooLong(error), ...(headers instanceof Headers && { headers }) };
  }
  return { tooLong: false };
}

/** Whether a request was refused for its length: OpenAI has a code for it, llama.cpp a type, vLLM and others only words. */
function isTooLong(error: Error): boolean {
  const { code, type } = error as { code?: unknown; type?: unknown };
  return code === "context_length_exceeded" || type === "exceed_context_size_error" || /maximum context length|context (?:size|window)|prompt is too long/i.test(error.message);
}

/** Retry-After in milliseconds: seconds or an HTTP date; some providers give retry-after-ms too. */
function retryAfter(headers: Headers | undefined, now: number): number | undefined {
  const exact = Number.parseFloat(headers?.get("retry-after-ms") ?? "");
  if (Number.isFinite(exact)) return exact;
  const given = headers?.get("retry-after");
  if (given === null || given === undefined) return undefined;
  const seconds = Number(given);
  const delay = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(given) - now;
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined;
}
