import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { invalidField, meshError } from "../../runtime/errors.js";

export function unknownAgent(type: string, known: readonly string[]) {
  const names = known.join(", ");
  return meshError(Code.InvalidArgument, ErrorReason.UNKNOWN_AGENT, `There is no agent ${JSON.stringify(type)}; known: ${names}.`, {
    metadata: { known: known.join(",") },
    violations: [{ field: "agent_type", description: `must be one of ${names}` }],
  });
}

export function unknownAgentVersion(type: string, version: string, known: readonly string[]) {
  const message = `The agent ${type} has no version ${JSON.stringify(version)}; known: ${known.join(", ")}.`;
  return meshError(Code.InvalidArgument, ErrorReason.UNKNOWN_AGENT, message, {
    metadata: { known: known.map((one) => `${type}@${one}`).join(",") },
    violations: [{ field: "agent_type", description: `must be ${type} or ${known.map((one) => `${type}@${one}`).join(", ")}` }],
  });
}

export function threadNotFound(thread: string) {
  return meshError(Code.NotFound, ErrorReason.THREAD_NOT_FOUND, "There is no such thread.", { metadata: { thread } });
}

/** @param retryAfterMs when the other run's hold on the thread ends unless it goes on. */
export function threadBusy(thread: string, retryAfterMs = 1_000) {
  return meshError(Code.Aborted, ErrorReason.THREAD_BUSY, "The thread answers another question; ask again when that is done.", {
    metadata: { thread },
    retryAfterMs,
  });
}

export function overloaded(limit: number) {
  return meshError(
    Code.ResourceExhausted,
    ErrorReason.OVERLOADED,
    `The replica runs ${limit} requests, as many as it may; retry after the given delay.`,
    { metadata: { limit: String(limit) }, retryAfterMs: 1_000 },
  );
}

export function callsNoTools(type: string) {
  return invalidField("caller_tools", `the agent ${type} calls no tools; ask one that does, such as react`);
}

export function callerToolTaken(name: string) {
  return invalidField("caller_tools", `there is a tool ${name} here already; give another name`);
}

export function runTimedOut(seconds: number) {
  return meshError(Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED, `The run took longer than ${seconds} s.`);
}

export function invalidEventId() {
  return meshError(Code.InvalidArgument, ErrorReason.INVALID_FIELD, "event_id: give the id of an event of a stream.", {
    violations: [{ field: "event_id", description: "is none that a stream gave out" }],
  });
}

export function shuttingDown() {
  return meshError(Code.Unavailable, ErrorReason.SHUTTING_DOWN, "The replica is shutting down; go on with the stream at another one.", {
    retryAfterMs: 1_000,
  });
}

/** The run was ended from outside. */
export function runCancelled() {
  return meshError(Code.Aborted, ErrorReason.RUN_CANCELLED, "The run was cancelled, or ended by another one on its thread.");
}

export function keyReused() {
  const description = "belongs to another request; give each request a key of its own";
  return meshError(Code.InvalidArgument, ErrorReason.IDEMPOTENCY_KEY_REUSED, `idempotency_key: ${description}.`, {
    violations: [{ field: "idempotency_key", description }],
  });
}

export function notInterrupted(thread: string) {
  return meshError(Code.FailedPrecondition, ErrorReason.NOT_INTERRUPTED, "The thread's run does not ask anything; put a question instead.", {
    metadata: { thread },
  });
}

export function checkpointNotFound(thread: string, checkpoint: string) {
  return meshError(Code.NotFound, ErrorReason.CHECKPOINT_NOT_FOUND, "The thread has no such checkpoint, or not any more.", {
    metadata: { thread, checkpoint },
  });
}

export function forkExists(thread: string) {
  return meshError(Code.AlreadyExists, ErrorReason.THREAD_EXISTS, "The new thread exists; give another new_thread_id, or none.", {
    metadata: { thread },
  });
}

export function runNotFound() {
  return meshError(Code.NotFound, ErrorReason.RUN_NOT_FOUND, "There is no such run, or its thread has gone on since; ask again.");
}

export function invalidPageToken() {
  return meshError(Code.InvalidArgument, ErrorReason.INVALID_PAGE_TOKEN, "page_token: give next_page_token of the page before, of the same thread.", {
    violations: [{ field: "page_token", description: "is none that this list gave out" }],
  });
}
