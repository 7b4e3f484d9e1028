import { inSpan } from "../../../runtime/tracing/tracer.js";
import type { Node } from "../state.js";

/** The node, each run of it a span of its request's trace: what it calls hangs below. */
export function traced(name: string, node: Node): Node {
  return (state, config) => inSpan(name, async () => node(state, config));
}
