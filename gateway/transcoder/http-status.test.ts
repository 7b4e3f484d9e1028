import { create, createRegistry, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { methodNotAllowed } from "./http-error.js";
import { httpStatus, toErrorResponse, withStandardDetails } from "./http-status.js";
import { testMessage, testRegistry } from "./testdata/transcoding.js";

const registry = withStandardDetails(createRegistry(testRegistry));
const respond = (error: unknown) => toErrorResponse(error, registry, "library.example.com");

test.each([
  [Code.Canceled, 499],
  [Code.Unknown, 500],
  [Code.InvalidArgument, 400],
  [Code.DeadlineExceeded, 504],
  [Code.NotFound, 404],
  [Code.AlreadyExists, 409],
  [Code.PermissionDenied, 403],
  [Code.ResourceExhausted, 429],
  [Code.FailedPrecondition, 400],
  [Code.Aborted, 409],
  [Code.OutOfRange, 400],
  [Code.Unimplemented, 501],
  [Code.Internal, 500],
  [Code.Unavailable, 503],
  [Code.DataLoss, 500],
  [Code.Unauthenticated, 401],
])("gRPC code %i is HTTP %i", (code, status) => {
  expect(httpStatus(code)).toBe(status);
});

describe("details", () => {
  const reader = { name: "Ann", email: "ann@example.com" };
  const asJson = { "@type": "type.googleapis.com/transcoding.v1.Reader", ...reader };

  test("are shown as JSON, made here or come from the wire", () => {
    const error = new ConnectError("no", Code.NotFound);
    const desc = testMessage("Reader");
    error.details.push({ desc, value: reader });
    error.details.push({ type: desc.typeName, value: toBinary(desc, create(desc, reader)) });
    expect(respond(error)).toEqual({
      status: 404,
      headers: {},
      body: { code: 5, message: "no", details: [asJson, asJson] },
    });
  });

  test("of unknown types and broken ones keep their bytes", () => {
    const error = new ConnectError("no", Code.NotFound);
    error.details.push({ type: "none.None", value: new Uint8Array([1]) });
    error.details.push({ type: ErrorInfoSchema.typeName, value: new Uint8Array([255]) });
    expect(respond(error).body.details).toEqual([
      { "@type": "type.googleapis.com/none.None", value: "AQ==" },
      { "@type": "type.googleapis.com/google.rpc.ErrorInfo", value: "/w==" },
    ]);
  });

  test.each([
    { seconds: 2n, nanos: 1, header: "3" },
    { seconds: 2n, nanos: 0, header: "2" },
    { seconds: 0n, nanos: 1000, header: "1" },
  ])("RetryInfo of $seconds s and $nanos ns is Retry-After: $header", ({ seconds, nanos, header }) => {
    const error = new ConnectError("slow down", Code.ResourceExhausted);
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds, nanos } } });
    expect(respond(error)).toMatchObject({ status: 429, headers: { "retry-after": header } });
  });
});

describe("what is inside stays inside", () => {
  test.each([
    new Error("cannot read /etc/secret"),
    "a string",
    new ConnectError("connect ECONNREFUSED 10.0.0.1:9104", Code.Internal),
    new ConnectError("TypeError: x is undefined", Code.Unknown),
  ])("%s", (thrown) => {
    const { status, body } = respond(thrown);
    expect(status).toBe(500);
    expect(body.message).toBe("The request failed inside the server.");
  });

  test("a service that cannot be reached is not named", () => {
    const { status, body } = respond(new ConnectError("connect ECONNREFUSED 10.0.0.1:9104", Code.Unavailable));
    expect([status, body.message]).toEqual([503, "The service cannot be reached now; retry later."]);
  });

  test("an error with details speaks for itself", () => {
    const error = new ConnectError("The index is being rebuilt.", Code.Unavailable);
    error.details.push({ desc: ErrorInfoSchema, value: { reason: "REBUILDING", domain: "library" } });
    expect(respond(error).body.message).toBe("The index is being rebuilt.");
  });
});

test("an error of the HTTP layer has its own status, headers and ErrorInfo", () => {
  expect(respond(methodNotAllowed("PUT", ["GET", "HEAD"]))).toEqual({
    status: 405,
    headers: { allow: "GET, HEAD" },
    body: {
      code: 12,
      message: "PUT is not allowed here; allowed: GET, HEAD.",
      details: [
        {
          "@type": "type.googleapis.com/google.rpc.ErrorInfo",
          reason: "METHOD_NOT_ALLOWED",
          domain: "library.example.com",
          metadata: { allow: "GET, HEAD" },
        },
      ],
    },
  });
});
