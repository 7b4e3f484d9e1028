import { type DescMessage, type DescMethod, getOption, type JsonObject, type Message, toJson } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { Access, audited } from "../gen/ragents/auth/v1/access_pb.js";
import { currentCall } from "./call-context.js";
import { reasonOf } from "./errors.js";
import { accessOf } from "./identity/access.js";
import type { Logger } from "./logger.js";

const validator = createValidator();

/**
 * Writes a line for every call of an RPC that needs the role admin, allowed or not: who called what, with the request's
 * fields that the schema marks as audited, and how it ended. Calls that services make of themselves are left out.
 */
export function auditInterceptor(logger: Logger): Interceptor {
  return (next) => async (request) => {
    if (accessOf(request.method) !== Access.ADMIN) return next(request);
    const write = (code: string, reason?: string) => {
      const call = currentCall();
      if (call === undefined || call.identity.service !== undefined) return;
      const { tenant, user } = call.identity;
      logger.audit({
        rpc: nameOf(request.method),
        tenant,
        user,
        request_id: call.requestId,
        request: request.stream ? undefined : auditedFields(request.method.input, request.message),
        code,
        reason,
      });
    };
    try {
      const response = await next(request);
      write("OK");
      return response;
    } catch (error) {
      write(error instanceof ConnectError ? Code[error.code] : "Internal", reasonOf(error));
      throw error;
    }
  };
}

/** The marked fields of a request; none of one that breaks the schema, for anything may stand in it. */
function auditedFields(schema: DescMessage, message: Message): JsonObject | undefined {
  if (validator.validate(schema, message).kind !== "valid") return undefined;
  const json = toJson(schema, message, { useProtoFieldName: true }) as JsonObject;
  const marked = schema.fields.filter((field) => getOption(field, audited)).map(({ name }) => name);
  return Object.fromEntries(Object.entries(json).filter(([name]) => marked.includes(name)));
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
