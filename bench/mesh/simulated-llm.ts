import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "./question-mix.js";

/**
 * An OpenAI-compatible server of its own process that answers every question after about LLM_MS milliseconds (an eighth
 * more or less), streaming. Prints its base URL; GET /calls tells how many completions were asked of it.
 */
const meanMs = Number(process.env["LLM_MS"] ?? 2_000);
const PIECES = 20;
const random = seededRandom(7);
let calls = 0;

const server = createServer((request, response) => {
  if (request.url === "/calls") return void response.end(JSON.stringify({ calls }));
  calls += 1;
  request.resume();
  request.on("end", () => void answer(response).catch(() => response.destroy()));
});

async function answer(response: ServerResponse): Promise<void> {
  const total = meanMs * (0.875 + 0.25 * random());
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (fields: object) =>
    response.write(`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "simulated", ...fields })}\n\n`);
  // A quarter of the time to the first token, as with a prompt of some thousand tokens.
  await delay(total / 4);
  for (let piece = 0; piece < PIECES && !response.closed; piece += 1) {
    send({ choices: [{ index: 0, delta: { content: piece === 0 ? "It is in the first passage [1]." : " And there is more." }, finish_reason: null }] });
    if (meanMs > 0) await delay((total * 0.75) / PIECES);
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage: { prompt_tokens: 1_500, completion_tokens: PIECES * 5, total_tokens: 1_500 + PIECES * 5 } });
  response.end("data: [DONE]\n\n");
}

server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1\n`));
