import { Agent, request } from "node:http";

/** What became of a load. */
export interface LoadReport {
  /** Requests that were answered as they should be. */
  readonly answered: number;
  /** What went wrong, one line a request, in order. */
  readonly failures: readonly string[];
  /** The 50th and 99th percentile of the answers' times, and the longest, in milliseconds. */
  readonly times: { p50: number; p99: number; max: number };
}

/** People who talk with an agent until they are told to stop. */
export interface Load {
  /** Requests answered so far. */
  readonly answered: () => number;
  /** Ends the conversations after their current turn. */
  stop(): Promise<LoadReport>;
}

/** The answer that a person expects: it depends on what was asked, so that answers cannot be mixed up. */
const QUESTIONS = [
  { query: "What does the kingfisher eat?", expect: "fish" },
  { query: "What does the otter eat?", expect: "eels" },
  { query: "What does the heron eat?", expect: "frogs" },
] as const;

/** Documents that QUESTIONS are about. */
export const DOCUMENTS = [
  { id: "kingfisher", text: "The kingfisher eats small fish. It dives from a branch above clear water." },
  { id: "otter", text: "The otter eats eels. It lives in a holt by the river." },
  { id: "heron", text: "The heron eats frogs. It stands still for hours in shallow water." },
];

/**
 * Starts conversations over keep-alive connections, one turn after another in each, with `pauseMs` between turns. Every second
 * person listens to the stream of events instead of waiting for the whole answer. Without `threads` every question begins a new
 * conversation. Nothing is tried again.
 */
export function startConversations(edge: string, options: { people: number; pauseMs: number; bypassCache?: boolean; threads?: boolean }): Load {
  const connections = new Agent({ keepAlive: true, maxSockets: options.people });
  const failures: string[] = [];
  const times: number[] = [];
  let stopping = false;

  async function talk(person: number): Promise<void> {
    let threadId: string | undefined;
    for (let turn = 0; !stopping; turn += 1) {
      const { query, expect } = QUESTIONS[(person + turn) % QUESTIONS.length]!;
      const body = { query, thread_id: threadId, config_overrides: { bypass_cache: options.bypassCache ?? false } };
      const streamed = person % 2 === 1;
      const started = performance.now();
      try {
        const text = await post(connections, `${edge}${streamed ? "/v1/query:stream" : "/query"}`, body);
        const answer = streamed ? resultOf(text) : (JSON.parse(text) as { response: string; thread_id: string });
        if (!answer.response.includes(expect)) throw new Error(`"${query}" was answered "${answer.response}"`);
        if (threadId !== undefined && answer.thread_id !== threadId) throw new Error("the thread changed");
        if (options.threads ?? true) threadId = answer.thread_id;
        times.push(performance.now() - started);
      } catch (error) {
        failures.push(`${new Date().toISOString()} person ${person} turn ${turn} (${streamed ? "stream" : "query"}): ${(error as Error).message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
    }
  }

  const people = Array.from({ length: options.people }, (_, person) => talk(person));
  return {
    answered: () => times.length,
    async stop() {
      stopping = true;
      await Promise.all(people);
      connections.destroy();
      const sorted = times.toSorted((a, b) => a - b);
      const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
      return { answered: times.length, failures, times: { p50: at(0.5), p99: at(0.99), max: at(1) } };
    },
  };
}

/** Sends a JSON body and resolves to the response's text; rejects for any status but 200 and for a response that is cut off. */
export function post(agent: Agent, url: string, body: unknown, timeoutMs = 60_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const data = JSON.stringify(body);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(data) };
    const sent = request(url, { method: "POST", agent, headers, timeout: timeoutMs }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("error", reject);
      response.on("end", () => {
        if (!response.complete) reject(new Error("the response was cut off"));
        else if (response.statusCode !== 200) reject(new Error(`${response.statusCode} ${text.slice(0, 300)}`));
        else resolve(text);
      });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    sent.on("error", reject);
    sent.end(data);
  });
}

/** The last event of a stream of server-sent events holds the whole answer. */
function resultOf(text: string): { response: string; thread_id: string } {
  const events = text.split("\n\n").flatMap((block) => {
    const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
    return data === "" ? [] : [JSON.parse(data) as { result?: { response: string; thread_id: string } }];
  });
  const result = events.findLast((event) => event.result !== undefined)?.result;
  if (result === undefined) throw new Error(`the stream ended without a result: ${text.slice(-300)}`);
  return result;
}
