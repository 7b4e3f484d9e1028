import { expect, test } from "vitest";
import { readable } from "./readable.js";

test.each([
  { quote: "**Bold** and *thin* and `code_name`", shown: "Bold and thin and `code_name`" },
  { quote: "See [the docs](http://x/y) and ![logo](l.png) here", shown: "See the docs and here" },
  { quote: "Known since 1990 [3] and [^2].", shown: "Known since 1990 and ." },
  { quote: "| port | 8080 |", shown: "port, 8080" },
  { quote: "wrapped\n  line", shown: "wrapped line" },
  { quote: "2 * 3 * 4 and snake_case_name", shown: "2 * 3 * 4 and snake_case_name" },
  { quote: "Call [`f()`][f] now", shown: "Call `f()` now" },
])("$quote is shown as $shown", ({ quote, shown }) => {
  expect(readable(quote)).toBe(shown);
});
