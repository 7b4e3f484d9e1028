import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, type StatusObject, status as GrpcStatus } from "@grpc/grpc-js";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { meshError, withoutStack } from "./errors.js";

/** The trailer in which gRPC carries google.rpc.Status. */
const DETAILS_TRAILER = "grpc-status-details-bin";

/** google.rpc.Status with all details of an error. */
export function toStatus(error: ConnectError) {
  return create(StatusSchema, {
    code: error.code,
    message: error.rawMessage,
    details: error.details.map((detail) =>
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
    ),
  });
}

/** The error that a google.rpc.Status describes. It has no stack: it happened elsewhere. */
export function fromStatus(status: Status): ConnectError {
  const error = withoutStack(() => new ConnectError(status.message, status.code as Code));
  error.details = status.details.map((any) => ({
    type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
    value: any.value,
  }));
  return error;
}

/** An error in bytes that `fromStatusBytes` reads, for where errors are kept or handed on. */
export function toStatusBytes(error: ConnectError): Uint8Array {
  return toBinary(StatusSchema, toStatus(error));
}

/** The error of `toStatusBytes`. */
export function fromStatusBytes(bytes: Uint8Array): ConnectError {
  return fromStatus(fromBinary(StatusSchema, bytes));
}

/** An error as grpc-js sends it. */
export function toGrpcStatus(error: ConnectError): StatusObject {
  const metadata = new Metadata();
  if (error.details.length > 0) {
    metadata.set(DETAILS_TRAILER, Buffer.from(toStatusBytes(error)));
  }
  return { code: error.code as number, details: error.rawMessage, metadata };
}

/**
 * A failed call of grpc-js as the error that the server sent. Failures of the
 * connection itself name the service, not its address.
 */
export function fromGrpcStatus(failure: Pick<StatusObject, "code" | "details" | "metadata">, service: string): ConnectError {
  const details = failure.metadata?.get(DETAILS_TRAILER)[0];
  if (details instanceof Buffer) {
    return fromStatusBytes(details);
  }
  const name = service.split(".").at(-1) ?? service;
  switch (failure.code) {
    case GrpcStatus.UNAVAILABLE:
      return meshError(Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE, `${name} cannot be reached; try again.`, {
        cause: failure.details,
        retryAfterMs: 1000,
      });
    case GrpcStatus.DEADLINE_EXCEEDED:
      return meshError(Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED, `${name} did not answer before the deadline.`, {
        cause: failure.details,
      });
    case GrpcStatus.CANCELLED:
      return meshError(Code.Canceled, ErrorReason.CANCELLED, "The call was cancelled.", { cause: failure.details });
    default:
      return new ConnectError(failure.details, (failure.code || Code.Unknown) as Code);
  }
}
