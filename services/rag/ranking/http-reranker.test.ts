import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { ConfigError } from "../../../runtime/config.js";
import { httpReranker } from "./http-reranker.js";
import { openRerankers, rerankerNamed } from "./rerankers.js";

let stop: (() => void) | undefined;
afterEach(() => stop?.());

/** A server that answers each request by `answer`, and what it was sent. */
async function serve(answer: (response: ServerResponse) => void): Promise<{ url: string; requests: { headers: IncomingMessage["headers"]; body: any }[] }> {
  const requests: { headers: IncomingMessage["headers"]; body: any }[] = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part as Buffer);
    requests.push({ headers: request.headers, body: JSON.parse(Buffer.concat(parts).toString()) });
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/rerank`, requests };
}

const json = (body: unknown) => (response: ServerResponse) => response.setHeader("content-type", "application/json").end(JSON.stringify(body));
const passages = [
  { text: "one", headings: ["Manual"], score: 0.9 },
  { text: "two", headings: [], score: 0.8 },
];
const rerankerAt = (url: string) => httpReranker({ name: "m", url, model: "m", apiKey: "secret", timeoutMs: 5_000 });

test.each([
  { results: [{ index: 1, relevance_score: 0.7 }, { index: 0, relevance_score: 0.1 }] },
  { data: [{ index: 0, relevance_score: 0.1 }, { index: 1, relevance_score: 0.7 }] },
  [{ index: 1, score: 0.7 }, { index: 0, score: 0.1 }],
])("reads the scores of %j", async (body) => {
  const { url, requests } = await serve(json(body));
  expect(await rerankerAt(url).rerank("q", passages)).toEqual([0.1, 0.7]);
  expect(requests[0]?.body).toEqual({ model: "m", query: "q", documents: ["Manual\none", "two"], top_n: 2 });
  expect(requests[0]?.headers.authorization).toBe("Bearer secret");
});

test.each([
  { what: "a status", answer: (response: ServerResponse) => response.writeHead(500).end(), message: "status 500" },
  { what: "no results", answer: json({ message: "no" }), message: "something else" },
  { what: "a missing passage", answer: json({ results: [{ index: 0, relevance_score: 1 }] }), message: "passage 1" },
  { what: "a passage that was not sent", answer: json({ results: [{ index: 7, relevance_score: 1 }] }), message: "passage 7" },
  { what: "no JSON", answer: (response: ServerResponse) => response.end("<html>"), message: "JSON" },
])("rejects when the server answers with $what", async ({ answer, message }) => {
  const { url } = await serve(answer);
  await expect(rerankerAt(url).rerank("q", passages)).rejects.toThrow(message);
});

test("stops when the caller has gone", async () => {
  const { url } = await serve(() => {});
  const caller = new AbortController();
  const answer = rerankerAt(url).rerank("q", passages, caller.signal);
  caller.abort(new Error("gone"));
  await expect(answer).rejects.toThrow("gone");
});

test("the built-in one prefers the passage whose sentence answers, where the search sees no difference", async () => {
  const builtin = rerankerNamed(openRerankers({ RAGENTS_RERANK_TIMEOUT_MS: 1_000 }), "builtin");
  const [off, on] = await builtin.rerank("When does the pump stop?", [
    { text: "The garden has a pump. It is a nice day, and tomatoes grow.", headings: ["Garden"], score: 0.5 },
    { text: "The pump stops when the pressure is above 3 bar.", headings: ["Pump"], score: 0.5 },
  ]);
  expect(on).toBeGreaterThan(off!);
});

test("rerankers are known by name", () => {
  const rerankers = openRerankers({ RAGENTS_RERANK_URL: "http://127.0.0.1:1/rerank", RAGENTS_RERANK_MODEL: "rerank-1", RAGENTS_RERANK_TIMEOUT_MS: 1_000 });
  expect(rerankerNamed(rerankers, "rerank-1").name).toBe("rerank-1");
  expect(() => rerankerNamed(rerankers, "rerank-2")).toThrow("known: none, builtin, rerank-1");
  expect(() => openRerankers({ RAGENTS_RERANK_URL: "http://127.0.0.1:1/", RAGENTS_RERANK_MODEL: "none", RAGENTS_RERANK_TIMEOUT_MS: 1_000 })).toThrow(ConfigError);
});
