import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AgentClient } from "../../clients/agent/index.js";
import type { ResumeStreamResponse, StreamQueryResponse } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import type { OpenAiDouble, ScriptedReply } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

const TEXT = "It stops above 3 bar [1], which is what the valve is for.";

let mesh: AgentMesh;
let double: OpenAiDouble;
let replicas: [AgentClient, AgentClient];
let calls: number;

beforeAll(async () => {
  ({ mesh, double } = await startModelMesh({ RAGENTS_AGENT_LEASE_S: "1" }));
  replicas = [mesh.agent, await mesh.replica()];
});
beforeEach(() => {
  calls = double.requests.length;
  double.script = () => ({ text: TEXT });
});
afterAll(() => mesh.stop());

type StreamEvent = StreamQueryResponse | ResumeStreamResponse;

/** A question that no other test asks. */
const question = () => `When does the pump stop, asks ${randomUUID()}?`;

/** Reads a stream until `stop` says so, and then leaves it as a lost connection would. */
async function readUntil(open: (signal: AbortSignal) => AsyncIterable<StreamEvent>, stop: (events: StreamEvent[]) => boolean): Promise<StreamEvent[]> {
  const gone = new AbortController();
  const events: StreamEvent[] = [];
  try {
    for await (const event of open(gone.signal)) {
      events.push(event);
      if (stop(events)) break;
    }
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  }
  gone.abort();
  return events;
}

const tokens = (events: StreamEvent[]) => events.flatMap(({ event }) => (event.case === "token" ? [event.value.text] : []));
const steps = (events: StreamEvent[]) => events.flatMap(({ event }) => (event.case === "step" ? [event.value.name] : []));
const idOf = (events: StreamEvent[]) => events.at(-1)?.eventId ?? "";

/** A model that says so many words, and then nothing until it is released. */
function pausing(words: number): { script: () => ScriptedReply; release: () => void } {
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  return { script: () => ({ text: TEXT, pauseAfter: words, until: released }), release };
}

describe("a stream that was lost", () => {
  test.each([0, 1])("is gone on with on replica %i behind each of its events: nothing is missing, nothing comes twice", async (replica) => {
    const request = { query: question(), resumable: true };
    const whole = await readStream(mesh.agent.streamQuery(request));
    expect(whole.text).toBe(whole.result?.response);
    for (const [i, { eventId }] of whole.events.entries()) {
      const rest = await readStream(replicas[replica]!.resumeStream({ eventId }));
      // Pieces of text may come as one.
      const told = tokens(whole.events.slice(0, i + 1)).join("");
      expect(told + rest.text).toBe(whole.text);
      expect(rest.cases.filter((name) => name !== "token")).toEqual(whole.cases.slice(i + 1).filter((name) => name !== "token"));
    }
    expect(double.requests.length - calls).toBe(1);
  });

  test("loses nothing of an answer under way when it is resumable: the model is asked once", async () => {
    const { script, release } = pausing(3);
    double.script = script;
    const request = { query: question(), resumable: true };
    const events = await readUntil((signal) => mesh.agent.streamQuery(request, { signal }), (all) => tokens(all).length === 2);
    const resuming = readStream(mesh.agent.resumeStream({ eventId: idOf(events) }));
    release();
    const rest = await resuming;
    expect(tokens(events).join("") + rest.text).toBe(rest.result?.response);
    expect(rest.cases).not.toContain("restarted");
    expect(double.requests.length - calls).toBe(1);
  });

  test("is told on another replica of the steps while the first one runs on, and of its answer when that is there", async () => {
    const { script, release } = pausing(3);
    double.script = script;
    const request = { query: question(), resumable: true };
    const events = await readUntil((signal) => mesh.agent.streamQuery(request, { signal }), (all) => all.length === 1);
    await expect.poll(() => double.requests.length - calls, { timeout: 10_000 }).toBe(1);
    const seen: StreamEvent[] = [];
    const reading = (async () => {
      for await (const event of replicas[1].resumeStream({ eventId: idOf(events) })) seen.push(event);
    })();
    await expect.poll(() => steps(seen), { timeout: 10_000 }).toEqual(["rewrite", "retrieve"]);
    expect(tokens(seen)).toEqual([]);
    release();
    await reading;
    expect([steps(seen), tokens(seen).join("")]).toEqual([["rewrite", "retrieve", "answer"], TEXT]);
    expect(double.requests.length - calls).toBe(1);
  });

  test("has its answer written anew when it was not resumable, and steps that were done stay done", async () => {
    const { script, release } = pausing(3);
    double.script = script;
    const request = { query: question() };
    const events = await readUntil((signal) => mesh.agent.streamQuery(request, { signal }), (all) => tokens(all).length === 2);
    release();
    double.script = () => ({ text: "Another answer [1]." });
    const rest = await readStream(replicas[1].resumeStream({ eventId: idOf(events) }));
    expect([rest.cases[0], rest.text]).toEqual(["restarted", "Another answer [1]."]);
    expect([...steps(events), ...steps(rest.events)]).toEqual(["rewrite", "retrieve", "answer"]);
  });

  test("can be gone on with by Last-Event-ID, and by nothing that is no event", async () => {
    const { events } = await readStream(mesh.agent.streamQuery({ query: question() }));
    const rest = await readStream(mesh.agent.resumeStream({}, { headers: { "last-event-id": events.at(-2)?.eventId ?? "" } }));
    expect(rest.cases).toEqual(["result"]);
    expect((await failureOf(readStream(mesh.agent.resumeStream({ eventId: "7" })))).code).toBe(Code.InvalidArgument);
    const elsewhere = `${randomUUID()}/${randomUUID()}/0-0-0-0-0-0`;
    expect(reasonOf(await failureOf(readStream(mesh.agent.resumeStream({ eventId: elsewhere }))))).toBe("RUN_NOT_FOUND");
  });

  test("still gets its answer when its thread has gone on since", async () => {
    const first = await readStream(mesh.agent.streamQuery({ query: question() }));
    await mesh.agent.query({ query: "And the valve?", threadId: first.result?.threadId ?? "" });
    const rest = await readStream(replicas[1].resumeStream({ eventId: first.events[0]?.eventId ?? "" }));
    expect(rest.text).toBe(first.text);
    expect(rest.result?.metadata?.model).toBe("llama-3");
  });
});

describe("an idempotency key", () => {
  test.each(["", "keyed-thread"])("makes repeated requests one run, on every replica (thread %j)", async (threadId) => {
    const request = { query: question(), threadId, idempotencyKey: randomUUID(), configOverrides: { bypassCache: true } };
    const answers = await Promise.all([0, 1, 0, 1].map((replica) => replicas[replica]!.query(request)));
    const later = await replicas[1].query(request);
    expect(new Set([...answers, later].map(({ threadId: id, response }) => `${id} ${response}`)).size).toBe(1);
    expect(double.requests.length - calls).toBe(1);
    expect((await mesh.agent.getThread({ thread: later.threadId })).thread?.messageCount).toBe(2);
  });

  test("means the same as metadata, and its stream is told again", async () => {
    const request = { query: question() };
    const headers = { "idempotency-key": randomUUID() };
    const first = await readStream(mesh.agent.streamQuery(request, { headers }));
    const again = await readStream(replicas[1].streamQuery(request, { headers }));
    expect([again.text, again.result?.threadId]).toEqual([first.text, first.result?.threadId]);
    expect(double.requests.length - calls).toBe(1);
  });

  test("of another request is refused", async () => {
    const idempotencyKey = randomUUID();
    await mesh.agent.query({ query: question(), idempotencyKey });
    for (const replica of replicas) {
      const error = await failureOf(replica.query({ query: question(), idempotencyKey }));
      expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "IDEMPOTENCY_KEY_REUSED"]);
    }
  });

  test("tries a run again that failed, from its last step", async () => {
    const request = { query: question(), idempotencyKey: randomUUID() };
    double.script = () => ({ status: 500 });
    expect(reasonOf(await failureOf(mesh.agent.query(request)))).toBe("MODEL_UNAVAILABLE");
    double.script = () => ({ text: TEXT });
    const stream = await readStream(replicas[1].streamQuery(request));
    expect([stream.result?.response, steps(stream.events)]).toEqual([TEXT, ["rewrite", "retrieve", "answer"]]);
  });
});

describe("a thread that has a run already", () => {
  async function busy(threadId: string) {
    const { script, release } = pausing(1);
    double.script = script;
    const first = mesh.agent.query({ query: question(), threadId }).catch((error: unknown) => error);
    await expect.poll(() => double.requests.length - calls, { timeout: 10_000 }).toBe(1);
    double.script = () => ({ text: "The second [1]." });
    return { first, release };
  }

  test("refuses another one", async () => {
    const { first, release } = await busy("busy:reject");
    const error = await failureOf(replicas[1].query({ query: question(), threadId: "busy:reject" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.Aborted, "THREAD_BUSY"]);
    release();
    expect(await first).toMatchObject({ response: TEXT });
  });

  test.each([0, 1])("has it wait for its turn, from replica %i", async (replica) => {
    const threadId = `busy:enqueue:${replica}`;
    const { first, release } = await busy(threadId);
    const second = replicas[replica]!.query({ query: "And now?", threadId, whenBusy: "enqueue" });
    release();
    expect(await first).toMatchObject({ response: TEXT });
    expect((await second).response).toBe("The second [1].");
    const { messages } = await mesh.agent.listThreadMessages({ thread: threadId });
    expect(messages.map(({ content }) => content).slice(1)).toEqual([TEXT, "And now?", "The second [1]."]);
  });

  test.each([0, 1])("is ended by it, from replica %i", async (replica) => {
    const threadId = `busy:interrupt:${replica}`;
    const { first, release } = await busy(threadId);
    const second = await replicas[replica]!.query({ query: "And now?", threadId, whenBusy: "interrupt" });
    expect(second.response).toBe("The second [1].");
    release();
    expect(reasonOf(await first)).toBe("RUN_CANCELLED");
  });

  test("no other word is understood", async () => {
    expect((await failureOf(mesh.agent.query({ query: "x?", whenBusy: "maybe" }))).code).toBe(Code.InvalidArgument);
  });
});

describe("a run that is cancelled", () => {
  test.each([0, 1])("ends, its model's call with it, and is not gone on with (asked of replica %i)", async (replica) => {
    const { script, release } = pausing(1);
    double.script = script;
    const threadId = `cancel:${replica}`;
    const events: StreamEvent[] = [];
    const reading = failureOf((async () => {
      for await (const event of mesh.agent.streamQuery({ query: question(), threadId, resumable: true })) events.push(event);
    })());
    await expect.poll(() => tokens(events).length, { timeout: 10_000 }).toBeGreaterThan(0);
    expect((await replicas[replica]!.cancelRun({ thread: threadId })).cancelled).toBe(true);
    expect(reasonOf(await reading)).toBe("RUN_CANCELLED");
    await expect.poll(() => double.requests.at(-1)?.aborted, { timeout: 10_000 }).toBe(true);
    release();
    expect(reasonOf(await failureOf(readStream(replicas[1 - replica]!.resumeStream({ eventId: idOf(events) }))))).toBe("RUN_CANCELLED");
    expect((await mesh.agent.cancelRun({ thread: threadId })).cancelled).toBe(false);
    double.script = () => ({ text: "Next [1]." });
    expect((await mesh.agent.query({ query: "And now?", threadId })).response).toBe("Next [1].");
  });

  test("must be there", async () => {
    expect(reasonOf(await failureOf(mesh.agent.cancelRun({ thread: "never:was" })))).toBe("THREAD_NOT_FOUND");
  });
});
