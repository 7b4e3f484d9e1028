import { expect, test } from "vitest";
import { agrees, behind, eventId, parseEventId, START_OF_RUN } from "./event-position.js";
import type { RunEvent } from "./run.js";

test("events lead on, and a restart voids text and citations", () => {
  const citation = { index: 1, documentId: "d", chunkId: "d#0", source: "d", start: 0, end: 1, quote: "q" };
  const events: RunEvent[] = [
    { step: { name: "rewrite", summary: "" } },
    { toolCall: { id: "1", name: "t", arguments: {} } },
    { text: "Half" },
    { citation },
    { restarted: true },
    { text: "Who" },
    { text: "le." },
    { step: { name: "answer", summary: "" } },
  ];
  const position = events.reduce(behind, START_OF_RUN);
  expect(position).toMatchObject({ steps: 2, characters: 6, citations: 0, tools: 1 });
  expect(["Whole. And more.", "Whole.", "Whole", "Other. And more."].map((text) => agrees(position, text))).toEqual([true, true, false, false]);
});

test("an id is read as it was written", () => {
  const run = { threadId: "user:7@x.y-z", runId: "a-1" };
  const position = { steps: 1, characters: 20, digest: 4_294_967_295, citations: 3, tools: 4, marks: 1 };
  expect(parseEventId(eventId(run, position))).toEqual({ ...run, position });
});

test.each(["", "7", "t/r/1-2-3-4-5", "t/r/1-2-3-4-5-x", "t r/r/1-2-3-4-5-0", `${"t".repeat(129)}/r/1-2-3-4-5-0`])("%j is no event's id", (text) => {
  expect(() => parseEventId(text)).toThrow("event_id: give the id of an event of a stream");
});
