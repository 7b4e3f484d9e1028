import { expect, test } from "vitest";
import { rewriteByRules, topicOf } from "./contextual-rewrite.js";

test.each([
  { question: "How does the rate limiter decide?", topic: "rate limiter" },
  { question: "What is the token bucket?", topic: "token bucket" },
  { question: "How long are embeddings cached?", topic: "embeddings" },
  { question: "Where does PGlite store its files?", topic: "PGlite" },
  { question: "Why is it?", topic: undefined },
])("$question is about $topic", ({ question, topic }) => {
  expect(topicOf(question)).toBe(topic);
});

const limiter = ["How does the rate limiter decide?"];
test.each([
  { after: limiter, question: "What is its capacity?", alone: "What is the rate limiter's capacity?" },
  { after: limiter, question: "Where does it run?", alone: "Where does the rate limiter run?" },
  { after: limiter, question: "How can I configure that?", alone: "How can I configure the rate limiter?" },
  { after: limiter, question: "Why?", alone: "Why: How does the rate limiter decide?" },
  { after: limiter, question: "Tell me more.", alone: "Tell me more: How does the rate limiter decide?" },
  { after: limiter, question: "What about the cache?", alone: "How does the cache decide?" },
  { after: limiter, question: "And on weekends?", alone: "How does the rate limiter decide on weekends?" },
  { after: ["What are checkpoints?", "How are they stored?"], question: "Are they compressed?", alone: "Are the checkpoints compressed?" },
  { after: ["What is Redis?"], question: "Does it support clusters?", alone: "Does Redis support clusters?" },
  { after: limiter, question: "What is a checkpoint?", alone: "What is a checkpoint?" },
  { after: limiter, question: "Is it possible to run on macOS?", alone: "Is it possible to run on macOS?" },
  { after: limiter, question: "How does the saver know that it is done?", alone: "How does the saver know that it is done?" },
  { after: [], question: "What is its capacity?", alone: "What is its capacity?" },
  { after: ["Why?"], question: "What is its capacity?", alone: "What is its capacity?" },
])("after $after, $question is $alone", ({ after, question, alone }) => {
  expect(rewriteByRules(question, after)).toBe(alone);
});
