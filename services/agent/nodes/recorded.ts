import { inSpan } from "../../../runtime/tracing/tracer.js";
import type { Node } from "../state.js";
import { summaryOf } from "../step-summary.js";

/**
 * A node, for `addNode`, each run of it a span of its request's trace. It leaves in the state that it was done: who reads the
 * run later is told of its steps from there.
 */
export function recorded<Name extends string>(name: Name, node: Node): [Name, Node] {
  return [
    name,
    async (state, config) => {
      const update = await inSpan(name, async () => node(state, config));
      return { ...update, trail: [{ name, summary: summaryOf(name, update) }] };
    },
  ];
}
