import { describe, expect, test } from "vitest";
import { parsePathTemplate } from "./path-template.js";

const single = { kind: "single" };
const rest = { kind: "rest" };
const literal = (text: string) => ({ kind: "literal", text });

describe("templates of the grammar", () => {
  test.each([
    { text: "/", segments: [], variables: [], verb: "" },
    { text: "/v1/shelves", segments: [literal("v1"), literal("shelves")], variables: [], verb: "" },
    { text: "/v1/*:lend", segments: [literal("v1"), single], variables: [], verb: "lend" },
    { text: "/v1/**", segments: [literal("v1"), rest], variables: [], verb: "" },
    {
      text: "/v1/{shelf}",
      segments: [literal("v1"), single],
      variables: [{ fieldPath: "shelf", start: 1, end: 2, multi: false }],
      verb: "",
    },
    {
      text: "/v1/{shelf=*}:clear",
      segments: [literal("v1"), single],
      variables: [{ fieldPath: "shelf", start: 1, end: 2, multi: false }],
      verb: "clear",
    },
    {
      text: "/v1/{book.name=shelves/*/books/*}/pages/{page}",
      segments: [literal("v1"), literal("shelves"), single, literal("books"), single, literal("pages"), single],
      variables: [
        { fieldPath: "book.name", start: 1, end: 5, multi: true },
        { fieldPath: "page", start: 6, end: 7, multi: false },
      ],
      verb: "",
    },
    {
      text: "/v1/{path=files/**}:raw",
      segments: [literal("v1"), literal("files"), rest],
      variables: [{ fieldPath: "path", start: 1, end: 3, multi: true }],
      verb: "raw",
    },
    { text: "/caf%C3%A9/a%3Ab", segments: [literal("café"), literal("a:b")], variables: [], verb: "" },
  ])("$text", ({ text, ...parsed }) => {
    expect(parsePathTemplate(text)).toEqual({ text, ...parsed });
  });
});

describe("templates outside of the grammar", () => {
  test.each([
    { text: "v1/shelves", problem: 'must start with "/"' },
    { text: "/v1//shelves", problem: "has an empty segment" },
    { text: "/v1/", problem: "has an empty segment" },
    { text: "/v1/**/pages", problem: '"**" must be the last segment' },
    { text: "/v1/{path=**}/pages", problem: '"**" must be the last segment' },
    { text: "/v1/{a={b}}", problem: "has a variable inside a variable" },
    { text: "/v1/{a", problem: 'has a "{" without its "}"' },
    { text: "/v1/a}", problem: 'has a "}" without its "{"' },
    { text: "/v1/{1a}", problem: '"1a" is not a field path' },
    { text: "/v1/{a..b}", problem: '"a..b" is not a field path' },
    { text: "/v1/{a}/{a}", problem: 'binds "a" twice' },
    { text: "/v1/x{a}", problem: '"x{a}" is not a segment' },
    { text: "/v1/a b", problem: '"a b" is not a segment' },
    { text: "/v1/a%FF", problem: '"a%FF" is not percent-encoded UTF-8' },
    { text: "/v1/a:", problem: '":" is not a verb' },
  ])("$text $problem", ({ text, problem }) => {
    expect(() => parsePathTemplate(text)).toThrow(`Path template "${text}": ${problem}.`);
  });
});
