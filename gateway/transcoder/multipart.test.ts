import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { MultipartMapping } from "./multipart.js";
import { deferred } from "./testdata/deferred.js";
import { startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";

const library = testService("Library");
const rpc = "transcoding.v1.Library.UploadPages";
const target = "/v1/shelves/1/books/2/pages:upload";
const mapping: MultipartMapping = {
  header: "header",
  file: { field: "page", fileName: "file_name", mediaType: "mime_type" },
  data: "data",
  chunkBytes: 4,
  maxFileBytes: 20,
  maxFiles: 3,
};

type Part = { part: { case: string; value: any } };

/** One message in short. */
function show({ part }: Part): string {
  if (part.case === "data") return `data ${Buffer.from(part.value).toString()}`;
  if (part.case === "end") return "end";
  if (part.case === "page") return `page ${part.value.fileName} ${part.value.mimeType}`;
  return `header ${part.value.name} ${part.value.note} ${JSON.stringify(part.value.metadata)}`;
}

function uploading(seen: string[] = [], multipart: MultipartMapping = mapping) {
  return startRestServer(
    (router) =>
      router.service(library, {
        async uploadPages(messages: AsyncIterable<Part>) {
          for await (const message of messages) {
            seen.push(show(message));
            if (seen.at(-1)!.includes("refuse")) throw new ConnectError("Refused.", Code.FailedPrecondition);
          }
          return { parts: seen };
        },
        async *count(numbers: AsyncIterable<{ number: number }>) {
          for await (const { number } of numbers) yield { number: number * 2 };
        },
      } as object),
    { multipart: { [rpc]: multipart } },
  );
}

/** A form as browsers and curl send it. */
function form(...parts: { name: string; value: string; file?: string; type?: string }[]) {
  const body = parts.map(({ name, value, file, type }) => {
    const fileName = file === undefined ? "" : `; filename="${file}"`;
    const mediaType = type === undefined ? "" : `Content-Type: ${type}\r\n`;
    return `--B\r\nContent-Disposition: form-data; name="${name}"${fileName}\r\n${mediaType}\r\n${value}\r\n`;
  });
  return { headers: { "content-type": "multipart/form-data; boundary=B" }, body: `${body.join("")}--B--\r\n` };
}

const header = 'header shelves/1/books/2 hello {"a":[1]}';
const fields = [
  { name: "note", value: "hello" },
  { name: "metadata", value: '{"a":[1]}', type: "application/json" },
];

describe("a form becomes messages", () => {
  test.each([
    { parts: [], messages: ["header shelves/1/books/2  undefined"] },
    { parts: fields, messages: [header] },
    {
      parts: [...fields, { name: "f", value: "0123456789", file: "pages/a.txt", type: "text/plain" }],
      messages: [header, "page pages/a.txt text/plain", "data 0123", "data 4567", "data 89"],
    },
    {
      parts: [
        { name: "f", value: "a", file: "a.bin", type: "application/octet-stream" },
        { name: "f", value: "", file: "empty.txt", type: "text/plain; charset=utf-8" },
        { name: "f", value: "b", file: "naïve.txt" },
      ],
      messages: [
        "header shelves/1/books/2  undefined",
        "page a.bin ",
        "data a",
        "page empty.txt text/plain",
        "page naïve.txt text/plain",
        "data b",
      ],
    },
  ])("$messages", async ({ parts, messages }) => {
    await using rest = await uploading();
    const answer = await rest.ask("POST", target, form(...parts));
    expect(answer.json).toEqual({ parts: messages });
    expect(answer.status).toBe(200);
  });

  test("that end with a message of their own where one is mapped, and only when the form was whole", async () => {
    const seen: string[] = [];
    await using rest = await uploading(seen, { ...mapping, end: "end" });
    const whole = form({ name: "f", value: "a", file: "a.txt", type: "text/plain" });
    await rest.ask("POST", target, whole);
    expect(seen.slice(1)).toEqual(["page a.txt text/plain", "data a", "end"]);
    seen.length = 0;
    await rest.ask("POST", target, { ...whole, body: whole.body.slice(0, -6) });
    expect(seen).not.toContain("end");
  });

  test("of a real client, in chunks as they come", async () => {
    await using rest = await uploading([], { ...mapping, chunkBytes: 1 << 20, maxFileBytes: 10 << 20 });
    const body = new FormData();
    body.append("note", "hello");
    body.append("f", new Blob(["x".repeat(3 << 20)]), "big.txt");
    const answer = await fetch(`http://127.0.0.1:${rest.port}${target}`, { method: "POST", body });
    const { parts } = (await answer.json()) as { parts: string[] };
    expect(parts.slice(0, 2)).toEqual(["header shelves/1/books/2 hello undefined", "page big.txt "]);
    const pieces = parts.slice(2).map((part) => part.slice("data ".length));
    expect(pieces.join("")).toBe("x".repeat(3 << 20));
  });
});

describe("forms that are refused", () => {
  const file = { name: "f", value: "a", file: "a.txt" };
  test.each([
    {
      what: "unknown field",
      ask: form({ name: "colour", value: "red" }),
      status: 400,
      message: "colour: is not a known parameter",
    },
    {
      what: "broken JSON",
      ask: form({ name: "metadata", value: "{" }),
      status: 400,
      message: "metadata: must be JSON",
    },
    {
      what: "JSON of the wrong type",
      ask: form({ name: "metadata", value: "[]" }),
      status: 400,
      message: "metadata: must be an object",
    },
    {
      what: "another name than the path's",
      ask: form({ name: "name", value: "x" }),
      status: 400,
      message: "header.name: differs",
    },
    {
      what: "field after a file",
      ask: form(file, { name: "note", value: "late" }),
      status: 400,
      message: "note: comes after a file",
    },
    {
      what: "file without a name",
      ask: form({ ...file, file: "" }),
      status: 400,
      message: "f: is a file without a name",
    },
    {
      what: "file too large",
      ask: form({ ...file, value: "x".repeat(21) }),
      status: 413,
      message: 'The file "a.txt" is larger than 20 bytes.',
    },
    {
      what: "too many files",
      ask: form(file, file, file, file),
      status: 413,
      message: "The form has more than 3 files.",
    },
    {
      what: "no boundary",
      ask: { ...form(file), headers: { "content-type": "multipart/form-data" } },
      status: 400,
      message: "lacks its boundary",
    },
    {
      what: "cut short",
      ask: { ...form(file), body: '--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc' },
      status: 400,
      message: "not complete",
    },
    { what: "JSON", ask: { body: {} }, status: 415, message: "multipart/form-data or application/x-ndjson" },
    {
      what: "refused by the RPC",
      ask: form({ name: "f", value: "xxxxxxxx", file: "refuse" }),
      status: 400,
      message: "Refused.",
    },
  ])("$what -> $status $message", async ({ ask, status, message }) => {
    await using rest = await uploading();
    const answer = await rest.ask("POST", target, ask);
    expect(answer.json.message).toContain(message);
    expect(answer.status).toBe(status);
  });
});

// Half an upload is of no use: it is cancelled even where calls go on without their client.
test.each([false, true])("an upload whose client goes away is cancelled, with keepRunning %s", async (keepRunning) => {
  const started = deferred<void>();
  const outcome = deferred<string>();
  await using rest = await startRestServer(
    (router) =>
      router.service(library, {
        async uploadPages(messages: AsyncIterable<Part>, context: HandlerContext) {
          context.signal.addEventListener("abort", () => outcome.resolve("cancelled"));
          for await (const message of messages) if (message.part.case === "page") started.resolve();
          outcome.resolve("complete");
          return {};
        },
      } as object),
    { multipart: { [rpc]: mapping }, keepRunning: () => keepRunning },
  );
  const { headers, body } = form({ name: "f", value: "abc", file: "a.txt" });
  const client = httpRequest({
    port: rest.port,
    method: "POST",
    path: target,
    headers: { ...headers, "content-length": "500" },
  });
  client.on("error", () => {});
  client.write(body.slice(0, -9));
  await started.promise;
  client.destroy();
  expect(await outcome.promise).toBe("cancelled");
});

test("a form that is broken in its middle reaches the RPC as cancelled, never as complete", async () => {
  const outcome = deferred<string>();
  await using rest = await startRestServer(
    (router) =>
      router.service(library, {
        async uploadPages(messages: AsyncIterable<Part>) {
          try {
            for await (const _ of messages);
            outcome.resolve("complete");
          } catch {
            outcome.resolve("cancelled");
          }
          return {};
        },
      } as object),
    { multipart: { [rpc]: mapping } },
  );
  const { headers, body } = form({ name: "f", value: "abc", file: "a.txt" });
  const answer = await rest.ask("POST", target, { headers, body: body.slice(0, -9) });
  expect([answer.status, answer.json.details[0].reason]).toEqual([400, "MALFORMED_BODY"]);
  expect(await outcome.promise).toBe("cancelled");
});

describe("NDJSON", () => {
  const ndjson = { "content-type": "application/x-ndjson" };

  test("gives one message a line, to RPCs with and without a form", async () => {
    await using rest = await uploading();
    const lines = ['{"header":{"note":"n"}}', "", '{"page":{"file_name":"a"}}', '{"data":"AQ=="}'];
    const answer = await rest.ask("POST", target, { headers: ndjson, body: lines.join("\n") });
    expect(answer.json.parts).toEqual(["header shelves/1/books/2 n undefined", "page a ", "data \u0001"]);
    const counted = await rest.ask("POST", "/v1/count", {
      headers: { ...ndjson, accept: "application/x-ndjson" },
      body: '{"number":1}\n{"number":2}',
    });
    expect(counted.text).toBe('{"number":2}\n{"number":4}\n');
  });

  test.each([
    { body: '{"number":"x"}', status: 400, message: "number: must be an integer" },
    { body: "{", status: 400, message: "The body is not valid JSON" },
  ])("a first line that does not fit is answered: $body", async ({ body, status, message }) => {
    await using rest = await uploading();
    const answer = await rest.ask("POST", "/v1/count", { headers: ndjson, body });
    expect(answer.json.message).toContain(message);
    expect(answer.status).toBe(status);
  });

  test("a later line that does not fit ends the stream with its error", async () => {
    await using rest = await uploading();
    const client = httpRequest({
      port: rest.port,
      method: "POST",
      path: "/v1/count",
      headers: { ...ndjson, accept: "application/x-ndjson" },
    });
    client.write('{"number":1}\n');
    const [answer] = await once(client, "response");
    let text = "";
    for await (const chunk of answer) {
      text += chunk;
      if (text === '{"number":2}\n') client.end('{"number":"x"}\n');
    }
    expect(text.split("\n")[1]).toContain('number: must be an integer, not \\"x\\"');
  });

  test("a form is refused where none is mapped", async () => {
    await using rest = await uploading();
    const answer = await rest.ask("POST", "/v1/count", form());
    expect([answer.status, answer.json.message]).toEqual([415, "The body must be sent as application/x-ndjson."]);
  });
});

test.each([
  { wrong: { ...mapping, header: "none" }, problem: 'has no field "none"' },
  { wrong: { ...mapping, header: "data" }, problem: "UploadPagesRequest.data is not a message" },
  { wrong: { ...mapping, data: "page" }, problem: "is wrong" },
  { wrong: { ...mapping, end: "none" }, problem: 'has no field "none"' },
  { wrong: { ...mapping, file: { field: "page", fileName: "none" } }, problem: 'UploadPage has no field "none"' },
])("a mapping that does not fit is refused: $problem", async ({ wrong, problem }) => {
  await expect(uploading([], wrong)).rejects.toThrow(problem);
});
