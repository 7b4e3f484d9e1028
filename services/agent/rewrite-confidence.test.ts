import { expect, test } from "vitest";
import { rewriteConfidence } from "./rewrite-confidence.js";

const context = ["How does the rate limiter decide?", "By a token bucket of 10 tokens [1]."];

test.each([
  { name: "the same question", said: "What is a lease?", rewritten: "What is a lease? ", confidence: 1 },
  { name: "a resolved pronoun", said: "What is its capacity?", rewritten: "What is the capacity of the rate limiter?", confidence: 1 },
  { name: "a lost term", said: "What is its capacity per hour?", rewritten: "What is the capacity of the rate limiter?", confidence: 1 / 3 },
  { name: "an invented term", said: "What is its capacity?", rewritten: "What is the capacity of the Kubernetes rate limiter cluster?", confidence: 0.5 },
  { name: "a lost number", said: "Does it allow 20?", rewritten: "Does the rate limiter allow requests?", confidence: 0 },
  { name: "an invented number", said: "Is it large?", rewritten: "Is the token bucket larger than 500?", confidence: 0 },
  { name: "a number of the conversation", said: "Is it large?", rewritten: "Is the bucket of 10 tokens large?", confidence: 1 },
  { name: "a lost negation", said: "When is it not used?", rewritten: "When is the rate limiter used?", confidence: 0 },
])("$name: $confidence", ({ said, rewritten, confidence }) => {
  expect(rewriteConfidence(said, rewritten, context)).toBeCloseTo(confidence);
});
