import { describe, expect, test } from "vitest";
import { testFiles } from "../transcoder/testdata/transcoding.js";
import { collectComments } from "./collect-comments.js";
import { parseComment } from "./comments.js";

test("comments are collected by full name", () => {
  expect(collectComments(testFiles)).toMatchObject({
    "transcoding.v1.Library": "A library of books.",
    "transcoding.v1.Library.GetBook": "Returns a book. NOT_FOUND when there is none.",
    "transcoding.v1.Book": expect.stringMatching(/^A book\.\n\nExample: {"name"/),
    "transcoding.v1.Book.title": 'The title, 1 to 200 characters.\nExample: "Middlemarch"',
    "transcoding.v1.Binding": "What a book is made of.",
    "transcoding.v1.Binding.BINDING_PAPERBACK": "Paper.",
    "transcoding.v1.Kinds.Nested.text": "Text.",
  });
});

describe("a comment is", () => {
  test.each([
    { comment: undefined, summary: "", description: "", examples: [] },
    { comment: "A book.", summary: "A book", description: "A book.", examples: [] },
    {
      comment: "Returns a\nbook, e.g. a novel. NOT_FOUND when\nthere is none.\n\nMore.",
      summary: "Returns a book, e.g. a novel",
      description: "Returns a book, e.g. a novel. NOT_FOUND when there is none.\n\nMore.",
      examples: [],
    },
    {
      comment: 'The title.\nExample: "Emma"\nExample: {"a": 1}',
      summary: "The title",
      description: "The title.",
      examples: ["Emma", { a: 1 }],
    },
    { comment: "Example: not JSON", summary: "", description: "", examples: ["not JSON"] },
  ])("$comment", ({ comment, ...documentation }) => {
    expect(parseComment(comment)).toEqual(documentation);
  });
});
