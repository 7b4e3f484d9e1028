import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import { OpenAiEmbedder } from "./openai-embedder.js";

type Answer = (input: string[], response: ServerResponse) => unknown;

const requests: { path: string | undefined; key: string | undefined; model: string; input: string[] }[] = [];
let answer: Answer;
let server: Server;

async function bodyOf(request: IncomingMessage): Promise<{ model: string; input: string[] }> {
  let body = "";
  for await (const part of request) body += part;
  return JSON.parse(body);
}

beforeEach(async () => {
  requests.length = 0;
  server = createServer(async (request, response) => {
    const { model, input } = await bodyOf(request);
    requests.push({ path: request.url, key: request.headers.authorization, model, input });
    const body = answer(input, response);
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

const vectorsOf = (input: string[]) => ({ data: input.map((text, index) => ({ index, embedding: [text.length, 0, 1] })).reverse() });

/** Its clock sleeps as long as it is told to: no test waits. */
function embedder() {
  const slept: number[] = [];
  const clock = Object.assign(new ManualClock(), { sleep: async (ms: number) => void slept.push(ms) });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`;
  return { slept, made: new OpenAiEmbedder({ baseUrl, model: "remote", dimension: 3, apiKey: "secret", timeoutMs: 10_000, clock }) };
}

test("answers normalised vectors in the order of the texts, in batches; a text without anything is not sent", async () => {
  answer = vectorsOf;
  const texts = [...Array.from({ length: 150 }, (_, i) => "x".repeat(i + 1)), " \n"];
  const vectors = await embedder().made.embed(texts);
  vectors.slice(0, 150).forEach((vector, i) => {
    expect(vector[0]! / vector[2]!).toBeCloseTo(i + 1, 2);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  });
  expect([...vectors[150]!]).toEqual([0, 0, 0]);
  expect(requests.map(({ input }) => input.length).sort((a, b) => b - a)).toEqual([64, 64, 22]);
  expect(requests[0]).toMatchObject({ path: "/v1/embeddings", key: "Bearer secret", model: "remote" });
});

test("tries again when the server is busy or broken, as long as it asks for", async () => {
  const statuses = [429, 503, 200];
  answer = (input, response) => {
    response.statusCode = statuses.shift()!;
    if (response.statusCode === 429) response.setHeader("retry-after", "2");
    return vectorsOf(input);
  };
  const { made, slept } = embedder();
  expect(await made.embed(["a"])).toHaveLength(1);
  expect(slept).toEqual([2_000, 1_000]);
});

test("gives up after three more tries", async () => {
  answer = (_, response) => ((response.statusCode = 500), {});
  await expect(embedder().made.embed(["a"])).rejects.toThrow("status 500");
  expect(requests).toHaveLength(4);
});

test.each([
  { name: "too few vectors", body: () => ({ data: [] }), message: "no vector for text 0" },
  { name: "a vector of another dimension", body: () => ({ data: [{ index: 0, embedding: [1, 2] }] }), message: "2 components" },
  { name: "a component that is not a number", body: () => ({ data: [{ index: 0, embedding: [1, null, 2] }] }), message: "not a number" },
  { name: "something else", body: () => ({ error: "no" }), message: "something else than embeddings" },
  { name: "no JSON", body: () => "<html>", message: "something else than JSON" },
])("refuses $name, without asking again", async ({ body, message }) => {
  answer = body;
  await expect(embedder().made.embed(["a"])).rejects.toThrow(message);
  expect(requests).toHaveLength(1);
});

test("does not repeat what the server refuses", async () => {
  answer = (_, response) => ((response.statusCode = 401), {});
  await expect(embedder().made.embed(["a"])).rejects.toThrow("status 401");
  expect(requests).toHaveLength(1);
});
