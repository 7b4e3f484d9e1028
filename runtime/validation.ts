import type { DescMessage, Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { Code, type Interceptor } from "@connectrpc/connect";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { type FieldViolation, meshError } from "./errors.js";

/**
 * Checks every incoming message against the buf.validate rules of its schema,
 * so that handlers see only what the schema allows. Breaches are
 * INVALID_ARGUMENT with one google.rpc.BadRequest field violation each.
 */
export function validationInterceptor(validator: Validator = createValidator()): Interceptor {
  const check = messageCheck(validator);
  return (next) => async (request) => {
    if (!request.stream) {
      check(request.method.input, request.message);
      return next(request);
    }
    const { input } = request.method;
    const source = request.message;
    async function* checked() {
      for await (const message of source) {
        check(input, message);
        yield message;
      }
    }
    return next({ ...request, message: checked() });
  };
}

/** Checks a message against its schema's rules; throws the INVALID_ARGUMENT that a server would answer. */
export function messageCheck(validator: Validator = createValidator()): (schema: DescMessage, message: Message) => void {
  return (schema, message) => {
    const result = validator.validate(schema, message);
    if (result.kind === "valid") return;
    if (result.kind === "error") throw result.error;
    throw invalidMessage(
      result.violations.map((violation) => ({
        field: pathToString(violation.field),
        description: violation.message,
      })),
    );
  };
}

function invalidMessage(violations: FieldViolation[]) {
  const text = violations.map(({ field, description }) => (field === "" ? description : `${field}: ${description}`));
  return meshError(Code.InvalidArgument, ErrorReason.INVALID_FIELD, text.join("; "), { violations });
}
