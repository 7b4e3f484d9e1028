import type { Parameters } from "./parameters.js";
import type { Pattern } from "./patterns.js";

/** A value: a parameter by its name, or itself. */
export type Term = { readonly parameter: keyof Parameters } | { readonly value: unknown };

/** A statement about a question's parameters. */
export type Formula =
  | { readonly op: "EXISTS"; readonly of: Term }
  | { readonly op: "EQ" | "GT" | "GE" | "LT" | "LE"; readonly left: Term; readonly right: Term }
  | { readonly op: "IN"; readonly left: Term; readonly set: readonly unknown[] }
  | { readonly op: "NOT"; readonly formula: Formula }
  | { readonly op: "AND" | "OR"; readonly formulas: readonly Formula[] }
  | { readonly op: "IMPLIES"; readonly when: Formula; readonly then: Formula }
  /** Of each element of a list; `each` says what of it. */
  | { readonly op: "FORALL"; readonly of: Term; readonly each: (element: Term) => Formula };

export type Priority = "high" | "medium" | "low";

/** A statement that has to hold. */
export interface Constraint {
  readonly name: string;
  readonly priority: Priority;
  readonly formula: Formula;
}

/** Whether a statement holds. What is not there is neither equal, greater nor less. */
export function holds(formula: Formula, parameters: Parameters): boolean {
  const value = (term: Term) => ("value" in term ? term.value : parameters[term.parameter]);
  switch (formula.op) {
    case "EXISTS": {
      const found = value(formula.of);
      return Array.isArray(found) ? found.length > 0 : found !== undefined && found !== "";
    }
    case "EQ":
      return normal(value(formula.left)) === normal(value(formula.right));
    case "GT":
      return ordered(value(formula.left), value(formula.right), (a, b) => a > b);
    case "GE":
      return ordered(value(formula.left), value(formula.right), (a, b) => a >= b);
    case "LT":
      return ordered(value(formula.left), value(formula.right), (a, b) => a < b);
    case "LE":
      return ordered(value(formula.left), value(formula.right), (a, b) => a <= b);
    case "IN":
      return formula.set.includes(value(formula.left));
    case "NOT":
      return !holds(formula.formula, parameters);
    case "AND":
      return formula.formulas.every((one) => holds(one, parameters));
    case "OR":
      return formula.formulas.some((one) => holds(one, parameters));
    case "IMPLIES":
      return !holds(formula.when, parameters) || holds(formula.then, parameters);
    case "FORALL": {
      const list = value(formula.of);
      return Array.isArray(list) && list.every((element) => holds(formula.each({ value: element }), parameters));
    }
  }
}

/** A statement as people read it, e.g. "IMPLIES(AND(EXISTS(from), EXISTS(to)), LE(from, to))". */
export function written(formula: Formula): string {
  const term = (one: Term) => ("value" in one ? JSON.stringify(one.value) : one.parameter);
  switch (formula.op) {
    case "EXISTS":
      return `EXISTS(${term(formula.of)})`;
    case "IN":
      return `IN(${term(formula.left)}, ${JSON.stringify(formula.set)})`;
    case "NOT":
      return `NOT(${written(formula.formula)})`;
    case "AND":
    case "OR":
      return `${formula.op}(${formula.formulas.map(written).join(", ")})`;
    case "IMPLIES":
      return `IMPLIES(${written(formula.when)}, ${written(formula.then)})`;
    case "FORALL":
      return `FORALL(${term(formula.of)}, ${written(formula.each({ value: "x" })).replaceAll('"x"', "x")})`;
    default:
      return `${formula.op}(${term(formula.left)}, ${term(formula.right)})`;
  }
}

/** What has to hold for a question of a pattern to be answered. */
export function constraintsFor({ type }: Pattern): readonly Constraint[] {
  return type === "comparative" ? [...EVERY, ...COMPARATIVE] : EVERY;
}

const parameter = (name: keyof Parameters): Term => ({ parameter: name });
const exists = (name: keyof Parameters): Formula => ({ op: "EXISTS", of: parameter(name) });
const inOrder = (low: keyof Parameters, high: keyof Parameters): Formula => ({
  op: "IMPLIES",
  when: { op: "AND", formulas: [exists(low), exists(high)] },
  then: { op: "LE", left: parameter(low), right: parameter(high) },
});

const EVERY: readonly Constraint[] = [
  {
    name: "subject",
    priority: "high",
    formula: { op: "OR", formulas: [exists("subject"), exists("phrases"), exists("left")] },
  },
  { name: "years_in_order", priority: "high", formula: inOrder("from", "to") },
  { name: "numbers_in_order", priority: "high", formula: inOrder("min", "max") },
  {
    name: "numbers_are_finite",
    priority: "medium",
    formula: { op: "FORALL", of: parameter("numbers"), each: (number) => ({ op: "LT", left: number, right: { value: 1e15 } }) },
  },
];

const COMPARATIVE: readonly Constraint[] = [
  { name: "two_sides", priority: "high", formula: { op: "AND", formulas: [exists("left"), exists("right")] } },
  {
    name: "sides_differ",
    priority: "high",
    formula: { op: "IMPLIES", when: exists("right"), then: { op: "NOT", formula: { op: "EQ", left: parameter("left"), right: parameter("right") } } },
  },
];

function normal(value: unknown): unknown {
  return typeof value === "string" ? value.trim().toLowerCase() : value;
}

function ordered(a: unknown, b: unknown, compare: (a: number, b: number) => boolean): boolean {
  return typeof a === "number" && typeof b === "number" && compare(a, b);
}
