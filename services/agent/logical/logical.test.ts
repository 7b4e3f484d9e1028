import { describe, expect, test } from "vitest";
import { analyse } from "./analysis.js";
import { type Formula, holds, written } from "./constraints.js";
import { extractParameters } from "./parameters.js";
import { matchPattern } from "./patterns.js";

describe("a question's pattern", () => {
  test.each([
    { question: "What is the difference between Redis and PostgreSQL?", type: "comparative", domain: "general" },
    { question: "Is the cache faster than the store?", type: "comparative", domain: "general" },
    { question: "How can I make ingestion faster?", type: "procedural", domain: "general" },
    { question: "Why are retries limited?", type: "causal", domain: "general" },
    { question: "How do I configure limits?", type: "procedural", domain: "general" },
    { question: "Where are checkpoints stored?", type: "spatial", domain: "general" },
    { question: "How has the latency changed over time?", type: "trend", domain: "temporal" },
    { question: "When was it released?", type: "temporal", domain: "temporal" },
    { question: "Which changes came after 2019?", type: "temporal", domain: "temporal" },
    { question: "How many tokens does a bucket hold?", type: "quantitative", domain: "quantitative" },
    { question: "What is a lease?", type: "definition", domain: "general" },
    { question: "rate limiter", type: "lookup", domain: "general" },
  ])("$question: $type, $domain", ({ question, type, domain }) => {
    expect(matchPattern(question)).toMatchObject({ type, domain });
  });
});

describe("a question's parameters", () => {
  test.each([
    { question: "Is the cache faster than the store?", parameters: { left: "cache", right: "store" } },
    { question: "Which is better, Redis or PostgreSQL?", parameters: { left: "Redis", right: "PostgreSQL" } },
    { question: "What is the difference between leases and locks?", parameters: { left: "leases", right: "locks" } },
    { question: "Changes from 2019 to 2021?", parameters: { from: 2019, to: 2021, numbers: [2019, 2021] } },
    { question: "Which limits are at least 10 and below 60?", parameters: { min: 10, max: 60 } },
    { question: 'Where is "too many waiters" said?', parameters: { phrases: ["too many waiters"] } },
    { question: "How do valves open kind:valve year:2020 draft:false?", parameters: { filters: { kind: "valve", year: 2020, draft: false } } },
    { question: "What listens on http://localhost:8080?", parameters: { filters: {} } },
  ])("$question", ({ question, parameters }) => {
    expect(extractParameters(question, matchPattern(question))).toMatchObject(parameters);
  });
});

describe("a constraint", () => {
  const left = { parameter: "left" } as const;
  const min = { parameter: "min" } as const;
  const parameters = { left: "a", min: 3, numbers: [1, 2], phrases: [], filters: {} };
  test.each<{ formula: Formula; text: string; result: boolean }>([
    { formula: { op: "EXISTS", of: left }, text: "EXISTS(left)", result: true },
    { formula: { op: "EXISTS", of: { parameter: "phrases" } }, text: "EXISTS(phrases)", result: false },
    { formula: { op: "EQ", left, right: { value: "A " } }, text: 'EQ(left, "A ")', result: true },
    { formula: { op: "GT", left: min, right: { value: 2 } }, text: "GT(min, 2)", result: true },
    { formula: { op: "GE", left: min, right: { value: 4 } }, text: "GE(min, 4)", result: false },
    { formula: { op: "LT", left: { parameter: "max" }, right: { value: 4 } }, text: "LT(max, 4)", result: false },
    { formula: { op: "IN", left, set: ["a", "b"] }, text: 'IN(left, ["a","b"])', result: true },
    { formula: { op: "NOT", formula: { op: "EXISTS", of: left } }, text: "NOT(EXISTS(left))", result: false },
    { formula: { op: "OR", formulas: [{ op: "EXISTS", of: min }, { op: "EXISTS", of: left }] }, text: "OR(EXISTS(min), EXISTS(left))", result: true },
    { formula: { op: "IMPLIES", when: { op: "EXISTS", of: { parameter: "max" } }, then: { op: "EXISTS", of: { parameter: "from" } } }, text: "IMPLIES(EXISTS(max), EXISTS(from))", result: true },
    { formula: { op: "FORALL", of: { parameter: "numbers" }, each: (x) => ({ op: "LE", left: x, right: { value: 2 } }) }, text: "FORALL(numbers, LE(x, 2))", result: true },
  ])("$text is $result", ({ formula, text, result }) => {
    expect([written(formula), holds(formula, parameters)]).toEqual([text, result]);
  });
});

describe("an analysis", () => {
  test("says what to search for, and what that saves", () => {
    const { directive, tokenReduction, clarification, confidence } = analyse("Can you please tell me how the rate limiter does not decide kind:valve?");
    expect(directive).toEqual({ queryText: "rate limiter not decide", mode: "hybrid", filters: { kind: "valve" } });
    expect(tokenReduction).toBeCloseTo(1 - 4 / 13);
    expect(clarification).toBeNull();
    expect(confidence).toBeGreaterThan(0.5);
  });

  test.each([
    { question: 'Where does it say "too many waiters"?', mode: "keyword" },
    { question: "What does maxConnectionAge do?", mode: "keyword" },
    { question: "How do connections age?", mode: "hybrid" },
  ])("searches $question by $mode", ({ question, mode }) => {
    expect(analyse(question).directive.mode).toBe(mode);
  });

  test.each([
    { question: "Is Redis better?", asks: "What should Redis be compared with?" },
    { question: "Which is better?", asks: "What should it be compared with?" },
    { question: "Is Redis faster than Redis?", asks: "Both sides of the comparison are Redis. What should it be compared with?" },
    { question: "What changed from 2021 to 2019?", asks: "The question begins in 2021 and ends in 2019. Which years do you mean?" },
    { question: "Which limits are at least 60 and at most 10?", asks: "No number is at least 60 and at most 10. Which range do you mean?" },
    { question: "What is it?", asks: 'What is your question about? "What is it?" does not name it.' },
    { question: "What changed from 2019 to 2021?", asks: null },
  ])("of $question asks back: $asks", ({ question, asks }) => {
    const { clarification, constraints } = analyse(question);
    expect(clarification?.question ?? null).toBe(asks);
    expect(constraints.some(({ satisfied, priority }) => !satisfied && priority === "high")).toBe(asks !== null);
    if (clarification !== null) expect(clarification.options.length).toBeGreaterThan(0);
  });
});
