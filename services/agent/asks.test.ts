import { expect, test } from "vitest";
import { asksSomething } from "./asks.js";

test.each([
  "Hello!", "hi there", "Thanks a lot!", "Thank you very much, bye.", "ok, great", "Good morning", "👍", "...", "That's all, thanks", "yes",
])("%s asks nothing", (message) => {
  expect(asksSomething(message)).toBe(false);
});

test.each([
  "How does it work?", "Hello, how does the limiter work?", "rate limiter", "thanks, and what about retries?", "Good practices", "why", "ok button colour", "Hi-fi setup",
])("%s asks something", (message) => {
  expect(asksSomething(message)).toBe(true);
});
