import { type Constraint, constraintsFor, holds, type Priority, written } from "./constraints.js";
import { clarificationFor } from "./clarification.js";
import { type Directive, directiveFor } from "./directive.js";
import { extractParameters } from "./parameters.js";
import { matchPattern, type Pattern } from "./patterns.js";

/** What a question amounts to before anything is searched. Plain JSON: part of checkpoints and cached answers. */
export interface Analysis extends Pattern {
  readonly constraints: readonly CheckedConstraint[];
  readonly directive: Directive;
  /** Part of the question's tokens that the directive saves, 0 to 1. */
  readonly tokenReduction: number;
  /** What has to be asked back before there can be an answer; null when nothing has. */
  readonly clarification: Clarification | null;
}

export interface CheckedConstraint {
  readonly name: string;
  readonly expression: string;
  readonly priority: Priority;
  readonly satisfied: boolean;
}

export interface Clarification {
  readonly question: string;
  /** Questions that can be asked instead. */
  readonly options: readonly string[];
}

/** Below it, a question is asked back. */
export const LEAST_CONFIDENCE = 0.3;
/** What a broken constraint leaves of the confidence. */
const PENALTY: Record<Priority, number> = { high: 0.3, medium: 0.7, low: 0.9 };

/** Analyses a question by rules: pattern, parameters, constraints, and what to search for. */
export function analyse(question: string): Analysis {
  const pattern = matchPattern(question);
  const parameters = extractParameters(question, pattern);
  const constraints = constraintsFor(pattern).map((constraint) => check(constraint, holds(constraint.formula, parameters)));
  const broken = constraints.filter(({ satisfied }) => !satisfied);
  const confidence = broken.reduce((left, { priority }) => left * PENALTY[priority], pattern.confidence);
  const directive = directiveFor(question, parameters);
  const urgent = broken.find(({ priority }) => priority === "high");
  const asksBack = urgent !== undefined || confidence < LEAST_CONFIDENCE;
  return {
    ...pattern,
    confidence,
    constraints,
    directive,
    tokenReduction: reduction(question, directive.queryText),
    clarification: asksBack ? clarificationFor(urgent?.name, question, parameters) : null,
  };
}

/** Part of the words of `before` that `after` saves, 0 to 1. */
export function reduction(before: string, after: string): number {
  const words = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
  return words(before) === 0 ? 0 : Math.max(0, 1 - words(after) / words(before));
}

function check({ name, priority, formula }: Constraint, satisfied: boolean): CheckedConstraint {
  return { name, priority, expression: written(formula), satisfied };
}
