import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkWindow, cutWindows, type Window } from "./windows.js";

async function* pieces(text: string, size: number) {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

async function windowsOf(text: string, pieceSize: number, windowSize: number, structure: "markdown" | "plain" = "markdown"): Promise<Window[]> {
  const windows: Window[] = [];
  for await (const window of cutWindows(pieces(text, pieceSize), structure, windowSize)) windows.push(window);
  return windows;
}

const paragraph = "The pump's bearing needs grease every nine hundred hours. ".repeat(4);

describe("windows", () => {
  test("end before headings and carry those that hold on", async () => {
    const text = `# Guide\n\n${paragraph}\n\n## Oil\n\n${paragraph}\n\n## Grease\n\n${paragraph}`;
    const windows = await windowsOf(text, 50, 450);
    expect(windows.map(({ text: part }) => part.split("\n")[0])).toEqual(["# Guide", "## Oil", "## Grease"]);
    const chunks = windows.flatMap((window) => chunkWindow(window, { size: 300, overlap: 0, structure: "markdown" }));
    expect(chunks.map(({ headingPath }) => headingPath)).toEqual([["Guide"], ["Guide", "Oil"], ["Guide", "Grease"]]);
    for (const { start, end, text: part } of chunks) expect(text.slice(start, end)).toBe(part);
  });

  test("end between paragraphs, lines or words where there is no heading", async () => {
    const ends = async (text: string) => (await windowsOf(text, 40, 100, "plain")).slice(0, -1).map(({ text: part }) => part.slice(-2));
    expect(new Set(await ends("word word.\n\n".repeat(50)))).toEqual(new Set(["\n\n"]));
    expect(new Set(await ends("a line of words\n".repeat(50)))).toEqual(new Set(["s\n"]));
    expect(new Set(await ends("word ".repeat(100)))).toEqual(new Set(["d "]));
  });

  test("are the same however the text comes in", async () => {
    const text = fc.array(fc.constantFrom("# H\n\n", "word ", "\n\n", "\n", "```\n", "😀", "x".repeat(70)), { maxLength: 80 }).map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 300 }), async (source, pieceSize) => {
        const windows = await windowsOf(source, pieceSize, 120);
        expect(windows.map(({ text: part }) => part).join("")).toBe(source);
        expect(windows).toEqual(await windowsOf(source, 1_000_000, 120));
        for (const { text: part, start } of windows) expect(source.startsWith(part, start)).toBe(true);
        for (const { text: part } of windows) expect(() => encodeURIComponent(part)).not.toThrow();
      }),
      { numRuns: 300 },
    );
  });
});
