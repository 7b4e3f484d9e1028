import { asksSomething } from "../asks.js";
import { rewriteByRules } from "../contextual-rewrite.js";
import { isComplex, partsOf } from "../question-parts.js";
import type { Node } from "../state.js";

/** Reads the last message: what it asks, one by one where it asks for several things. */
export const processInput: Node = async ({ messages }) => {
  const said = messages.at(-1)?.text.trim() ?? "";
  if (!asksSomething(said) || !isComplex(said)) return { question: said, parts: [] };
  const parts = partsOf(said);
  const earlier = messages.slice(0, -1).filter((message) => message.type === "human").map((message) => message.text);
  // "What is a lease and how long does it last?": a part may refer to the one before.
  const alone = parts.map((part, i) => rewriteByRules(part, [...earlier, ...parts.slice(0, i)]));
  return { question: said, parts: alone.length > 1 ? alone : [said] };
};
