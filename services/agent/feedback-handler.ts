import { Code } from "@connectrpc/connect";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { currentTenant } from "../../runtime/call-context.js";
import { meshError } from "../../runtime/errors.js";
import { isTraceOf } from "../../runtime/tracing/trace-ids.js";
import type { Tracing } from "../../runtime/tracing/tracing.js";

/** Takes what people think of answers. @param score sends it; undefined where nothing takes it. */
export function feedbackHandler(score: Tracing["score"]): Pick<ServiceImpl<typeof AgentService>, "scoreTrace"> {
  return {
    scoreTrace({ trace, name, value, reason }) {
      if (!isTraceOf(trace, currentTenant())) {
        throw meshError(Code.NotFound, ErrorReason.TRACE_NOT_FOUND, "There is no such trace.", { metadata: { trace } });
      }
      if (score === undefined) {
        const remedy = "Set OPIK_URL_OVERRIDE or OPIK_API_KEY for the agent service.";
        throw meshError(Code.FailedPrecondition, ErrorReason.TRACING_NOT_CONFIGURED, `The mesh sends its traces nowhere. ${remedy}`);
      }
      score({ traceId: trace, name, value, reason });
      return {};
    },
  };
}
