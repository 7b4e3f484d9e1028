import { describe, expect, test } from "vitest";
import { meaningOf, sameMeaning } from "./meaning.js";
import { OPPOSITES } from "./opposites.suite.js";

const same = (a: string, b: string) => sameMeaning(meaningOf(a), meaningOf(b));

describe("two questions with the same meaning", () => {
  test.each([
    ["How do I reset my password?", "how can I reset my password"],
    ["How do I reset my password?", "How to reset the password?"],
    ["How do I reset my password?", "Hi! Could you please tell me how to reset my password?"],
    ["How do I reset my password?", "How do we reset a password"],
    ["What is the refund policy?", "What's the refund policy?"],
    ["What is the refund policy?", "I would like to know what the refund policy is."],
    ["What is the refund policy?", "Can you tell me what our refund policy is?"],
    ["What is the refund policy?", "what is the refund policy"],
    ["What is the refund policy?", "WHAT IS THE REFUND POLICY"],
    ["What are the limits of an API key?", "What are the limits of the API keys?"],
    ["Why can't the worker connect?", "Why can not the worker connect?"],
    ["Why isn't the cache full?", "Why is not the cache full"],
    ["In Kubernetes, how do I restart a pod?", "How do I restart a pod in Kubernetes?"],
    ["Where do I find the logs?", "Where can I find the log?"],
    ["Where is the config file?", "Where is the configuration file?"],
    ["How many requests are 1,000 tokens?", "How many requests are 1000 tokens?"],
    ["Which policies exist?", "Which policy exists?"],
    ["Please explain the checkpoint service", "explain the checkpoint service please"],
    ["What does “durable” mean?", 'What does "durable" mean?'],
    ["what is the capital of france", "What is the capital of France?"],
    ["How does the rate limiter decide?", "How exactly does the rate limiter decide?"],
    ["Do you know when the office opens?", "When does the office open?"],
  ])("%s / %s", (a, b) => {
    expect(same(a, b)).toBe(true);
    expect(same(b, a)).toBe(true);
  });
});

describe("opposites", () => {
  test("are many", () => expect(OPPOSITES.length).toBeGreaterThanOrEqual(90));

  test.each(OPPOSITES)("%s / %s", (a, b) => {
    expect(same(a, b)).toBe(false);
    expect(same(b, a)).toBe(false);
    expect(same(a, a)).toBe(true);
    expect(same(b, b)).toBe(true);
  });
});

describe("too little to compare", () => {
  test.each([
    ["", ""],
    ["?", "?"],
    ["Why?", "why"],
    ["please", "please"],
  ])("%s / %s", (a, b) => expect(same(a, b)).toBe(false));
});
