import { create } from "@bufbuild/protobuf";
import { type CheckRequest, CheckRequestSchema } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { invalidField } from "../../runtime/errors.js";
import { messageCheck } from "../../runtime/validation.js";

const validate = messageCheck();

/**
 * A check that the service will take. Throws the INVALID_ARGUMENT that it would answer: here and not only there, since one
 * bad check must not spoil the others of its batch.
 */
export function checkRequest(key: string, cost: number): CheckRequest {
  if (!Number.isInteger(cost) || cost > 0x7fffffff) throw invalidField("cost", "give a whole number, at least 1");
  const request = create(CheckRequestSchema, { key, cost });
  validate(CheckRequestSchema, request);
  return request;
}
