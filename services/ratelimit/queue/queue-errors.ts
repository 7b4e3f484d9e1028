import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { invalidField, meshError } from "../../../runtime/errors.js";

/** When a full queue may have room again, in milliseconds: nobody can know. */
const FULL_RETRY_MS = 1_000;

/** INVALID_ARGUMENT naming the queues that there are. */
export function unknownQueue(name: string, known: readonly string[]) {
  const remedy = `there is no queue "${name}"; known are ${[...known].sort().join(", ")}`;
  return invalidField("queue", remedy, ErrorReason.UNKNOWN_QUEUE);
}

/** RESOURCE_EXHAUSTED: the queue holds `most` items, of everyone or of the caller's tenant. */
export function queueFull(whose: "queue" | "tenant", most: number) {
  const what = whose === "queue" ? "The queue holds" : "Your tenant has in the queue";
  return meshError(Code.ResourceExhausted, ErrorReason.QUEUE_FULL, `${what} as many items as it may, ${most}; retry later.`, {
    retryAfterMs: FULL_RETRY_MS,
    metadata: { limit: String(most), whose },
  });
}

/** NOT_FOUND, for another tenant's items too. */
export function itemNotFound() {
  return meshError(Code.NotFound, ErrorReason.ITEM_NOT_FOUND, "There is no such item: it is done, cancelled or expired, or never was.");
}

/** FAILED_PRECONDITION: the worker must stop working on the item. */
export function leaseLost() {
  return meshError(Code.FailedPrecondition, ErrorReason.ITEM_LEASE_LOST, "The lease has ended: the item is somebody else's by now.");
}
