import type { DescMethod } from "@bufbuild/protobuf";
import { Counter, type Registry } from "prom-client";
import { Access } from "../gen/ragents/auth/v1/access_pb.js";
import { invalidField, reasonOf } from "../runtime/errors.js";
import { accessOf } from "../runtime/identity/access.js";
import type { MeshSecurity } from "../runtime/mesh-security.js";
import { TRACE_HEADER } from "../runtime/tracing/trace-header.js";
import { TRACE_PARENT_HEADER } from "../runtime/tracing/trace-parent.js";
import type { Authenticator } from "./identity/authenticator.js";
import type { RequestTraces } from "./request-traces.js";

/** Reads a header of a client's request. */
export type HeaderOf = (name: string) => string | null | undefined;

/** The headers that go to a service with a client's call. Rejects with what the client is told when it may not call. */
export type UpstreamHeaders = (headerOf: HeaderOf, method: DescMethod) => Promise<Headers>;

/** Of a client's headers only these reach the services: identity is never the client's to say. */
const FORWARDED = ["x-request-id", "last-event-id", "idempotency-key", TRACE_PARENT_HEADER];

/** What comes of asking: a valid key or token, none, one that is not valid, and what is no fault of the client's. */
const OUTCOMES = ["OK", "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "DEPENDENCY_UNAVAILABLE", "INTERNAL"];

/** Makes the headers of calls for clients: a few of their own, and the identity that their key or token gives them. */
export function upstreamHeaders(options: {
  authenticator: Authenticator;
  security: MeshSecurity | undefined;
  traces?: RequestTraces;
  registry: Registry;
}): UpstreamHeaders {
  const { authenticator, security, traces } = options;
  const authentications = new Counter({
    name: "gateway_authentications_total",
    help: "Clients that were asked who they are, by what came of it.",
    labelNames: ["outcome"],
    registers: [options.registry],
  });
  for (const outcome of OUTCOMES) authentications.inc({ outcome }, 0);
  return async (headerOf, method) => {
    const headers = new Headers();
    for (const name of FORWARDED) {
      const value = headerOf(name);
      if (value === null || value === undefined) continue;
      // gRPC's metadata takes no other characters, and fails as if the server were at fault.
      if (!/^[\x20-\x7e]*$/.test(value)) throw invalidField(name, "the header must be printable ASCII");
      headers.set(name, value);
    }
    if (accessOf(method) === Access.PUBLIC) return headers;
    try {
      const identity = await authenticator.identity(headerOf);
      authentications.inc({ outcome: "OK" });
      for (const [name, value] of security?.vouch(identity, method) ?? []) headers.set(name, value);
      const trace = traces?.begin(headerOf, identity, method);
      if (trace !== undefined) headers.set(TRACE_HEADER, trace);
      return headers;
    } catch (error) {
      const reason = reasonOf(error);
      authentications.inc({ outcome: OUTCOMES.find((known) => known === reason) ?? "INTERNAL" });
      throw error;
    }
  };
}
