import { CsvError, parse } from "csv-parse";
import { assertNotEmpty, type Extracted, ExtractionError, normalizeText } from "./extracted.js";

/** A row longer than this is a quote that was never closed, in characters. */
const MAX_ROW = 1_000_000;
/** The delimiter is the one of these that the first line holds most of. */
const DELIMITERS = [",", ";", "\t", "|"];
const CHARACTERS_BETWEEN_TURNS = 262_144;

/** A table as text: a paragraph for each row, a line for each field with its column's name. */
export async function extractCsv(source: string, signal?: AbortSignal): Promise<Extracted> {
  const text = normalizeText(source);
  assertNotEmpty(text);
  let rows = "";
  for await (const piece of csvRows(slices(text))) {
    signal?.throwIfAborted();
    rows += piece;
  }
  assertNotEmpty(rows);
  return { text: rows, structure: "plain", mimeType: "text/csv", metadata: {} };
}

/**
 * The rows of a table whose text comes in pieces, as text. The first row names the columns; fields beyond them are named by
 * their number, empty ones are left out.
 * @throws ExtractionError MALFORMED naming the line.
 */
export async function* csvRows(pieces: AsyncGenerator<string>): AsyncGenerator<string> {
  const start = await takeFirstLine(pieces);
  const parser = parse({
    bom: true,
    delimiter: delimiterOf(start.line),
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    trim: true,
    max_record_size: MAX_ROW,
  });
  const written = write(parser, start.text, pieces);
  // Whoever stops reading does not wait for the writer; an error of it ends the reading.
  written.catch((error: Error) => parser.destroy(error));
  let columns: string[] | undefined;
  try {
    for await (const record of parser as AsyncIterable<string[]>) {
      if (columns === undefined) columns = record;
      else yield toText(record, columns);
    }
    // A table of one row has no names: the row is all there is.
    if (parser.info.records === 1 && columns !== undefined) yield toText(columns, []);
  } catch (error) {
    if (error instanceof CsvError) throw malformed(error);
    throw error;
  } finally {
    parser.destroy();
  }
}

async function write(parser: ReturnType<typeof parse>, first: string, rest: AsyncIterable<string>): Promise<void> {
  const push = async (text: string) => {
    if (!parser.write(text)) {
      await new Promise<void>((resolve) => {
        const done = () => {
          parser.off("drain", done).off("close", done);
          resolve();
        };
        parser.once("drain", done).once("close", done);
      });
    }
  };
  await push(first);
  for await (const piece of rest) {
    if (parser.destroyed) return;
    await push(piece);
  }
  parser.end();
}

/** Reads until the first line is complete. What follows stays in `pieces`. */
async function takeFirstLine(pieces: AsyncGenerator<string>): Promise<{ line: string; text: string }> {
  let text = "";
  while (!text.includes("\n") && text.length < MAX_ROW) {
    const step = await pieces.next();
    if (step.done === true) break;
    text += step.value;
  }
  return { line: text.split("\n", 1)[0]!, text };
}

function delimiterOf(line: string): string {
  const outsideQuotes = line.replace(/"[^"]*"/g, "");
  const counts = DELIMITERS.map((delimiter) => outsideQuotes.split(delimiter).length);
  return DELIMITERS[counts.indexOf(Math.max(...counts))]!;
}

function toText(record: readonly string[], columns: readonly string[]): string {
  const lines = record.flatMap((field, i) => (field === "" ? [] : [`${columns[i] || `column ${i + 1}`}: ${field.replaceAll("\n", " ")}`]));
  return lines.length === 0 ? "" : `${lines.join("\n")}\n\n`;
}

async function* slices(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += CHARACTERS_BETWEEN_TURNS) yield text.slice(at, at + CHARACTERS_BETWEEN_TURNS);
}

function malformed(cause: CsvError): ExtractionError {
  const line = typeof cause["lines"] === "number" ? ` (line ${cause["lines"]})` : "";
  const what = cause.code === "CSV_QUOTE_NOT_CLOSED" || cause.code === "CSV_MAX_RECORD_SIZE" ? "a quote is never closed" : "a row cannot be read";
  return new ExtractionError("MALFORMED", `The table is not valid CSV: ${what}${line}; check its quotes.`, { cause });
}
