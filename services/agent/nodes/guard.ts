import type { ConnectError } from "@connectrpc/connect";
import { toMeshError } from "../../../runtime/errors.js";
import { fromStatusBytes, toStatusBytes } from "../../../runtime/grpc-status.js";
import type { Failure, Node } from "../state.js";

/** A node whose failure is left in the state for the error handler. The end of the run itself is no failure of a node. */
export function guarded(name: string, node: Node): Node {
  return async (state, config) => {
    try {
      return { failure: null, ...(await node(state, config)) };
    } catch (error) {
      config.signal?.throwIfAborted();
      const status = Buffer.from(toStatusBytes(toMeshError(error))).toString("base64");
      return { failure: { node: name, status, count: (state.failure?.count ?? 0) + 1 } };
    }
  };
}

/** The error that a node failed with. */
export function errorOf({ status }: Failure): ConnectError {
  return fromStatusBytes(Buffer.from(status, "base64"));
}
