import { expect, test } from "vitest";
import { isComplex, partsOf } from "./question-parts.js";

test.each([
  { question: "What is a lease?", parts: [] },
  { question: "How do cats and dogs sleep?", parts: [] },
  { question: "What is a lease and how long does it last?", parts: ["What is a lease?", "how long does it last?"] },
  { question: "What is a lease? Who holds it?", parts: ["What is a lease?", "Who holds it?"] },
  { question: "Who decides, when is it decided, and why does it matter?", parts: ["Who decides?", "when is it decided?", "why does it matter?"] },
  { question: "What is the difference between tuples and lists?", parts: ["What is tuples?", "What is lists?"] },
  { question: "Redis vs PostgreSQL", parts: ["What is Redis?", "What is PostgreSQL?"] },
  { question: "Compare the cache with the checkpoint service", parts: ["What is cache?", "What is checkpoint service?"] },
])("$question asks $parts", ({ question, parts }) => {
  expect(partsOf(question)).toEqual(parts);
  expect(isComplex(question)).toBe(parts.length > 1);
});
