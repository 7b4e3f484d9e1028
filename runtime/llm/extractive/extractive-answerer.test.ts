import { describe, expect, test } from "vitest";
import type { AnswerEvent, Passage } from "../answerer.js";
import { extractiveAnswerer, NOT_ANSWERED } from "./extractive-answerer.js";

const manual = `# Pump P-7

The pump P-7 moves water from the tank to the boiler. It stops by itself when the pressure is above 3 bar.

## Maintenance

- Change the filter every 12 weeks.
- Oil the bearing once a year.

\`\`\`
pump --filter 12 --weeks
\`\`\``;

const gardens = "Tomatoes need six hours of sun. They are planted in May, e.g. after the last frost.";

function passage(text: string, fields: Partial<Passage> = {}): Passage {
  return { documentId: "manual.md", chunkId: "manual.md#0", source: "manual.md", headings: [], start: 0, text, score: 1, ...fields };
}

const ask = (question: string, passages: Passage[], signal?: AbortSignal) =>
  extractiveAnswerer().answer({ question, passages, temperature: 0, maxTokens: 100, signal });

describe("the built-in answerer", () => {
  test.each([
    { question: "When does the pump stop?", quote: "It stops by itself when the pressure is above 3 bar." },
    { question: "How often is the filter changed?", quote: "Change the filter every 12 weeks." },
    { question: "What is the pump P-7?", quote: "The pump P-7 moves water from the tank to the boiler." },
  ])("answers $question with the document's own sentence", async ({ question, quote }) => {
    const answer = await ask(question, [passage(gardens, { documentId: "g", chunkId: "g#0", score: 0.4 }), passage(manual, { start: 1000 })]);
    expect(answer.text).toContain(quote);
    const citation = answer.citations.find((one) => one.quote.includes(quote));
    expect(citation).toMatchObject({ documentId: "manual.md", chunkId: "manual.md#0", source: "manual.md" });
    for (const { start, end, quote: quoted } of answer.citations) {
      if (citation?.documentId === "manual.md") expect(manual.slice(start - 1000, end - 1000)).toBe(quoted);
    }
    expect(answer.usage).toEqual({ inputTokens: 0, outputTokens: 0 });
  });

  test.each(["Who painted the Mona Lisa?", "How many moons does Jupiter have?", "?!", "the"])(
    "says that the documents do not answer %s",
    async (question) => {
      expect(await ask(question, [passage(manual), passage(gardens)])).toMatchObject({ text: NOT_ANSWERED, citations: [] });
    },
  );

  const settings = `### Connection Settings

\`max_connections\` (\`integer\`)

Determines the largest number of connections. The default is typically 100 connections. It can only be set at start.

\`superuser_reserved_connections\` (\`integer\`)

Reserves some of max_connections. The default value is three connections.

### Signals

\`SIGTERM\`

This is the smart shutdown mode.

| Item | Upper Limit |
|---|---|
| relation size | 32 TB |
| identifier length | 63 bytes |

To list the settings:

\`\`\`
SHOW ALL;
\`\`\``;

  test.each([
    { question: "What is the default value of max_connections?", says: "100 connections", not: "three" },
    { question: "What is the default value of superuser_reserved_connections?", says: "three connections", not: "100" },
    { question: "Which signal makes a smart shutdown?", says: "SIGTERM", not: "connections" },
    { question: "What is the maximum identifier length?", says: "63 bytes", not: "32 TB" },
    { question: "How long can an identifier be?", says: "63 bytes", not: "32 TB" },
    { question: "How large can a relation be?", says: "32 TB", not: "63 bytes" },
    { question: "How do I list the settings?", says: "SHOW ALL;", not: "bytes" },
  ])("finds what stands under a term, in a table or below a colon: $question", async ({ question, says, not }) => {
    const { text, citations } = await ask(question, [passage(settings)]);
    expect(text).toContain(says);
    expect(text).not.toContain(not);
    for (const { start, end, quote } of citations) expect(settings.slice(start, end)).toBe(quote);
  });

  test.each(["What is the default of innodb_buffer_pool_size?", "How does MySQL limit connections?"])(
    "does not take one name for another: %s",
    async (question) => {
      expect(await ask(question, [passage(settings)])).toMatchObject({ text: NOT_ANSWERED, citations: [] });
    },
  );

  test("tells what a sentence refers back to", async () => {
    const { text } = await ask("When does it stop by itself?", [passage(manual)]);
    expect(text).toContain("The pump P-7 moves water from the tank to the boiler. It stops by itself");
  });

  test("cites the page that the passage starts on, where there are pages", async () => {
    const { citations } = await ask("When does the pump stop?", [passage(manual, { page: 7 })]);
    expect(citations.map(({ page }) => page)).toEqual(citations.map(() => 7));
    expect((await ask("When does the pump stop?", [passage(manual)])).citations[0]).not.toHaveProperty("page");
  });

  test("says so when nothing was found", async () => {
    expect((await ask("When does the pump stop?", [])).text).toBe(NOT_ANSWERED);
  });

  test("uses no word that the documents do not have, and numbers what it cites", async () => {
    const { text, citations } = await ask("How often is the filter changed and the bearing oiled?", [passage(manual)]);
    const words = text.replace(/\[\d+\]/g, "").match(/[\p{L}\p{N}]+/gu) ?? [];
    for (const word of words) expect(manual).toContain(word);
    expect(text.match(/\[\d+\]/g)).toEqual(citations.map(({ index }) => `[${index}]`));
  });

  test("quotes a sentence once that two overlapping passages share", async () => {
    const at = manual.indexOf("It stops");
    const overlapping = passage(manual.slice(at), { chunkId: "manual.md#1", start: at });
    const { text } = await ask("When does the pump stop by itself?", [passage(manual), overlapping]);
    expect(text.split("It stops by itself")).toHaveLength(2);
  });

  test("streams text and citations in order", async () => {
    const events: AnswerEvent[] = [];
    await extractiveAnswerer().answer({ question: "When does the pump stop?", passages: [passage(manual)], temperature: 0, maxTokens: 1 }, (event) => events.push(event));
    expect(events[0]).toMatchObject({ text: expect.stringMatching(/ \[1\]$/) });
    expect(events[1]).toMatchObject({ citation: { index: 1 } });
  });

  test("stops when the caller has gone", async () => {
    const reason = new Error("gone");
    await expect(ask("When does the pump stop?", [passage(manual)], AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});
