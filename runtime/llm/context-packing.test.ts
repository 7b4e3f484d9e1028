import { describe, expect, test } from "vitest";
import { packPassages, tokensOf } from "./context-packing.js";
import type { LanguageModel, ModelRequest } from "./language-model.js";
import { modelAnswerer } from "./model-answerer.js";

const SENTENCE = "The pump stops when the pressure is above three bar. ";

function passages(...lengths: number[]) {
  return lengths.map((sentences, i) => ({ documentId: `d${i}`, chunkId: `d${i}#0`, source: "", headings: [], start: 0, text: SENTENCE.repeat(sentences).trim(), score: 1 }));
}

describe("packing passages", () => {
  test("takes all that fit", () => {
    const all = passages(1, 2, 3);
    expect(packPassages(all, 1_000)).toEqual(all);
  });

  test("cuts the first that does not fit behind a sentence, and leaves out the rest", () => {
    const packed = packPassages(passages(4, 100, 1), 400);
    expect(packed.map(({ documentId }) => documentId)).toEqual(["d0", "d1"]);
    expect(packed[1]!.text.length).toBeGreaterThan(SENTENCE.length);
    expect(packed[1]!.text.endsWith("bar.")).toBe(true);
    expect(packed.reduce((sum, { text }) => sum + tokensOf(text) + 40, 0)).toBeLessThanOrEqual(400);
  });

  test.each([0, 50, 90])("takes nothing into a budget of %i tokens", (budget) => {
    expect(packPassages(passages(100), budget)).toEqual([]);
  });

  test("counts what is not ASCII by its bytes", () => {
    expect(tokensOf("泵在三巴停止")).toBe(6);
  });
});

test("a model is shown what fits, and what it cites of the rest counts as made up", async () => {
  const requests: ModelRequest[] = [];
  const model: LanguageModel = {
    name: "scripted",
    async reply(request, onText) {
      requests.push(request);
      onText?.("It stops [1]. It is blue [2].");
      return { message: undefined as never, text: "", usage: { inputTokens: 0, outputTokens: 0 }, model: "scripted" };
    },
  };
  const invented: number[] = [];
  const answerer = modelAnswerer(model, { contextTokens: 200, onInvented: (count) => invented.push(count) });
  const { text, citations } = await answerer.answer({ question: "q", passages: passages(2, 50), temperature: 0, maxTokens: 10 });
  expect(JSON.stringify(requests[0]!.messages)).toContain('number=\\"1\\"');
  expect(JSON.stringify(requests[0]!.messages).length).toBeLessThan(3_000);
  expect(citations.map(({ documentId }) => documentId)).toContain("d0");
  expect(text).toContain("It stops [1].");
  expect(invented[0]! + citations.length).toBe(2);
});
