import { setTimeout as delay } from "node:timers/promises";
import { type Client, Code, type ConnectError } from "@connectrpc/connect";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { AnswerRestartedSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import type { AgentService, StreamQueryRequestSchema, StreamQueryResponse } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { hasCode, reasonOf, retryAfterMsOf } from "../../runtime/errors.js";

export interface FollowOptions {
  /** Ends the reading. */
  signal?: AbortSignal;
  /** How often in a row a stream that breaks off is taken up again. Default 10. */
  retries?: number;
}

/** Pause before a stream is taken up again when the service does not say how long, in milliseconds. */
const PAUSE_MS = 250;

/**
 * Asks a question and yields what happens to its end, over lost connections and replicas that die or shut down: nothing is
 * missing and nothing comes twice. Give the request an idempotency key, so that it can be asked again before its first event
 * has arrived. Rejects with what the service refuses it with, and with UNAVAILABLE when it stays away.
 */
export async function* followQuery(
  client: Client<typeof AgentService>,
  request: MessageInitShape<typeof StreamQueryRequestSchema>,
  { signal, retries = 10 }: FollowOptions = {},
): AsyncGenerator<Pick<StreamQueryResponse, "eventId" | "event">> {
  const options = signal === undefined ? {} : { signal };
  let eventId = "";
  let hasStarted = false;
  let hasText = false;
  for (let failures = 0; ; ) {
    try {
      const asked = { resumable: true, ...request };
      const stream = eventId === "" ? client.streamQuery(asked, options) : client.resumeStream({ eventId }, options);
      for await (const { eventId: id, event } of stream) {
        eventId = id;
        failures = 0;
        if (event.case === "started") {
          if (hasStarted) continue;
          hasStarted = true;
        }
        hasText ||= event.case === "token";
        yield { eventId, event };
        if (event.case === "result") return;
      }
      // A server that goes away may end a stream as if that were all.
      failures += 1;
      if (failures > retries) throw new Error("the stream ends without a result");
    } catch (error) {
      signal?.throwIfAborted();
      const hasKey = (request.idempotencyKey ?? "") !== "";
      if (hasKey && reasonOf(error) === "RUN_NOT_FOUND" && failures < retries) {
        // Its replica died before it had stored anything.
        if (hasText) yield { eventId, event: { case: "restarted", value: create(AnswerRestartedSchema) } };
        hasText = false;
        eventId = "";
        failures += 1;
        continue;
      }
      const mayAskAgain = eventId !== "" || hasKey;
      if (!hasBrokenOff(error) || !mayAskAgain || failures >= retries) throw error;
      failures += 1;
      await delay(retryAfterMsOf(error) ?? PAUSE_MS, undefined, options);
    }
  }
}

/** Whether the stream ended because of what carries it: also a proxy whose connection to the replica was cut says so, by a reset. */
function hasBrokenOff(error: unknown): boolean {
  return hasCode(error, Code.Unavailable) || (hasCode(error, Code.Internal) && (error as ConnectError).rawMessage.startsWith("Received RST_STREAM"));
}
