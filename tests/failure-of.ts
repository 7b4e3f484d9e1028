import { ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";

/** The error that a call fails with; fails the test when it succeeds. */
export function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.fail("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
}
