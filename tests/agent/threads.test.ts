import type { JsonObject } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AgentClient } from "../../clients/agent/index.js";
import { reasonOf } from "../../runtime/errors.js";
import { failureOf } from "../failure-of.js";
import type { OpenAiDouble } from "../servers/openai-double.js";
import { type AgentMesh, startModelMesh } from "./agent-mesh.js";
import { readStream } from "./stream-reader.js";

let mesh: AgentMesh;
let double: OpenAiDouble;
let other: AgentClient;

beforeAll(async () => {
  ({ mesh, double } = await startModelMesh({ RAGENTS_AGENT_TOOLS: `${import.meta.dirname}/approval-tools` }));
  other = await mesh.replica();
});
beforeEach(() => {
  double.script = () => ({ text: "Above 3 bar [1]." });
});
afterAll(() => mesh.stop());

/** Three questions and answers. */
async function conversation(threadId: string) {
  for (const query of ["When does the pump stop?", "Why is that?", "Who says so?"]) {
    await mesh.agent.query({ query, threadId, configOverrides: { bypassCache: true } });
  }
}

const contents = async (thread: string) => (await mesh.agent.listThreadMessages({ thread })).messages.map(({ content }) => content);

describe("threads", () => {
  test("are listed page by page, seeds of cached answers not among them", async () => {
    for (const threadId of ["list:a", "list:b", "list:c"]) await mesh.agent.query({ query: "When does the pump stop?", threadId });
    const first = await mesh.agent.listThreads({ prefix: "list:", pageSize: 2 });
    const second = await mesh.agent.listThreads({ prefix: "list:", pageSize: 2, pageToken: first.nextPageToken });
    expect([...first.threads, ...second.threads].map(({ id }) => id)).toEqual(["list:a", "list:b", "list:c"]);
    expect(second.nextPageToken).toBe("");
    expect(first.threads[0]).toMatchObject({ createTime: expect.anything(), checkpointCount: expect.any(BigInt) });
    const { threads } = await mesh.agent.listThreads({ pageSize: 1000 });
    expect(threads.filter(({ id }) => id.startsWith("seed."))).toEqual([]);
  });

  test("tell the states that they went through, newest first, page by page", async () => {
    await conversation("history");
    const all = (await mesh.agent.listCheckpoints({ thread: "history" })).checkpoints;
    expect(all.map(({ source, next }) => [source, ...next])).toEqual(
      Array.from({ length: 3 }, () => [["loop"], ["loop", "answer"], ["loop", "retrieve"], ["input", "rewrite"]]).flat(),
    );
    expect(all.map(({ messageCount }) => messageCount)).toEqual([6, 5, 5, 5, 4, 3, 3, 3, 2, 1, 1, 1]);
    expect(new Set(all.slice(0, 4).map(({ runId }) => runId)).size).toBe(1);
    for (const [i, { parentId }] of all.entries()) expect(parentId).toBe(all[i + 1]?.id ?? "");
    const first = await mesh.agent.listCheckpoints({ thread: "history", pageSize: 10 });
    const second = await mesh.agent.listCheckpoints({ thread: "history", pageSize: 10, pageToken: first.nextPageToken });
    expect([...first.checkpoints, ...second.checkpoints].map(({ id }) => id)).toEqual(all.map(({ id }) => id));
  });

  test("show their state as it is, and as it was", async () => {
    await conversation("state");
    const { checkpoints } = await mesh.agent.listCheckpoints({ thread: "state" });
    const now = (await mesh.agent.getThreadState({ thread: "state" })).state;
    expect(now?.messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant", "user", "assistant"]);
    expect([now?.agentType, now?.values?.["response"]]).toEqual(["simple", "Above 3 bar [1]."]);
    const before = (await mesh.agent.getThreadState({ thread: "state", checkpointId: checkpoints.at(-2)?.id ?? "" })).state;
    expect([before?.messages.length, before?.values?.["response"], before?.checkpoint?.next]).toEqual([1, "", ["retrieve"]]);
  });

  test.each(["checkpoint", "1f1e5a98-dead-beef-8003-7ac25c2dc993", "ä"])("have no checkpoint %j, neither to show nor to fork from", async (checkpointId) => {
    await mesh.agent.query({ query: "When does the pump stop?", threadId: "unknown-checkpoint" });
    const asking = [
      mesh.agent.getThreadState({ thread: "unknown-checkpoint", checkpointId }),
      mesh.agent.forkThread({ thread: "unknown-checkpoint", checkpointId }),
    ];
    for (const error of await Promise.all(asking.map(failureOf))) {
      expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, "CHECKPOINT_NOT_FOUND"]);
    }
  });

  test("are forked from a checkpoint: both go on, each on its own", async () => {
    await conversation("forked");
    const { checkpoints } = await mesh.agent.listCheckpoints({ thread: "forked" });
    const afterTwo = checkpoints.find(({ messageCount, next }) => messageCount === 4 && next.length === 0);
    const { thread } = await other.forkThread({ thread: "forked", checkpointId: afterTwo?.id ?? "", newThreadId: "fork" });
    expect([thread?.id, thread?.messageCount]).toEqual(["fork", 4]);
    await mesh.agent.query({ query: "And another way?", threadId: "fork" });
    expect((await contents("fork")).slice(-2)).toEqual(["And another way?", "Above 3 bar [1]."]);
    expect((await contents("forked")).at(-2)).toBe("Who says so?");
    await mesh.agent.deleteThread({ thread: "forked" });
    expect(await contents("fork")).toHaveLength(6);
  });

  test("are forked in the middle of a run, which the fork can go on with", async () => {
    await conversation("mid-run");
    const { checkpoints } = await mesh.agent.listCheckpoints({ thread: "mid-run" });
    const beforeAnswer = checkpoints.find(({ next }) => next[0] === "answer");
    const { thread } = await mesh.agent.forkThread({ thread: "mid-run", checkpointId: beforeAnswer?.id ?? "" });
    double.script = () => ({ text: "Another answer [1]." });
    const eventId = `${thread?.id}/${beforeAnswer?.runId}/0-0-2166136261-0-0-0`;
    expect((await readStream(mesh.agent.resumeStream({ eventId }))).result?.response).toBe("Another answer [1].");
    expect((await contents(thread?.id ?? "")).at(-1)).toBe("Another answer [1].");
  });

  test("are not forked over one that exists", async () => {
    await conversation("source");
    const error = await failureOf(mesh.agent.forkThread({ thread: "source", newThreadId: "source" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.AlreadyExists, "THREAD_EXISTS"]);
  });

  test("take changes of their messages and work, which are part of their history", async () => {
    await conversation("changed");
    const { messages } = await mesh.agent.listThreadMessages({ thread: "changed" });
    const { state } = await mesh.agent.updateThreadState({
      thread: "changed",
      messages: [{ id: messages[1]?.id ?? "", role: "assistant", content: "At 4 bar." }, { role: "user", content: "Remember: 4 bar." }],
      removedMessageIds: [messages[5]?.id ?? ""],
      values: { notes: "checked" },
    });
    expect([state?.checkpoint?.source, state?.checkpoint?.next, state?.values?.["notes"]]).toEqual(["update", [], "checked"]);
    expect(await contents("changed")).toEqual(["When does the pump stop?", "At 4 bar.", "Why is that?", "Above 3 bar [1].", "Who says so?", "Remember: 4 bar."]);
    await other.query({ query: "So when?", threadId: "changed" });
    expect(double.requests.at(-1)?.messages.map(({ content }) => content)).toEqual(expect.arrayContaining(["At 4 bar.", "Remember: 4 bar."]));
  });

  test("that begin with a cached answer are shown, forked, changed and gone on with like others", async () => {
    const query = "When does the pump stop by itself?";
    const { response } = await mesh.agent.query({ query });
    const { threadId, metadata } = await mesh.agent.query({ query });
    expect([metadata?.cached, response]).toEqual([true, "Above 3 bar [1]."]);
    const { checkpoints } = await mesh.agent.listCheckpoints({ thread: threadId });
    expect(checkpoints).toMatchObject([{ source: "update", next: [], parentId: "", messageCount: 2 }]);
    const { state } = await other.getThreadState({ thread: threadId });
    expect([state?.agentType, state?.interrupts]).toEqual(["simple", []]);
    expect(state?.values).toMatchObject({ question: query, response, trail: [{ name: "cache" }], passages: [], parts: [] });
    const { thread: fork } = await other.forkThread({ thread: threadId });
    const changed = await mesh.agent.updateThreadState({ thread: threadId, messages: [{ role: "user", content: "Remember: 4 bar." }] });
    expect(changed.state?.checkpoint?.next).toEqual([]);
    await other.query({ query: "So when?", threadId });
    expect(await contents(threadId)).toEqual([query, response, "Remember: 4 bar.", "So when?", response]);
    expect(await contents(fork?.id ?? "")).toEqual([query, response]);
  });

  test.each<{ change: { values?: JsonObject; removedMessageIds?: string[]; messages?: { role: string; content: string }[] }; field: string }>([
    { change: { values: { settings: {} } }, field: "values" },
    { change: { values: { parts: "one" } }, field: "values" },
    { change: { removedMessageIds: ["nobody"] }, field: "removed_message_ids" },
    { change: { messages: [{ role: "system", content: "Obey." }] }, field: "messages" },
  ])("refuse a change of $field that makes no sense", async ({ change, field }) => {
    await mesh.agent.query({ query: "When does the pump stop?", threadId: "refuses" });
    const error = await failureOf(mesh.agent.updateThreadState({ thread: "refuses", ...change }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain(field);
  });

  test("that are deleted leave nothing: no checkpoint, no event, no cached answer", async () => {
    const query = "Which pressure stops the pump, exactly?";
    const { events, result } = await readStream(mesh.agent.streamQuery({ query, resumable: true }));
    const thread = result?.threadId ?? "";
    expect((await other.query({ query })).metadata?.cached).toBe(true);
    await mesh.agent.deleteThread({ thread });
    const asking = [mesh.agent.getThread({ thread }), mesh.agent.listCheckpoints({ thread }), mesh.agent.getThreadState({ thread })];
    for (const error of await Promise.all(asking.map(failureOf))) expect(reasonOf(error)).toBe("THREAD_NOT_FOUND");
    for (const agent of [mesh.agent, other]) {
      expect(reasonOf(await failureOf(readStream(agent.resumeStream({ eventId: events[1]?.eventId ?? "" }))))).toBe("RUN_NOT_FOUND");
    }
    expect((await other.query({ query })).metadata?.cached).toBe(false);
  });
});

describe("a tool that needs approval", () => {
  const PUBLISH = { toolCalls: [{ name: "publish", arguments: { text: "News" } }] };
  const react = (threadId: string) => ({ query: "Publish the news.", agentType: "react", threadId });

  beforeEach(() => {
    double.script = ({ messages }) => {
      const observation = messages.findLast(({ role }) => role === "tool")?.content;
      return observation === undefined ? PUBLISH : { text: `I saw: ${observation}` };
    };
  });

  test("interrupts the run, which any replica goes on with when it is approved: it is called once", async () => {
    const { result, cases } = await readStream(mesh.agent.streamQuery(react("approved")));
    expect(cases.slice(-3)).toEqual(["interrupt", "usage", "result"]);
    expect([result?.response, result?.interrupts[0]?.value]).toMatchObject(["", { tool: "publish", arguments: { text: "News" } }]);
    expect((await other.getThreadState({ thread: "approved" })).state?.interrupts).toEqual(result?.interrupts);
    const decisions = [{ interruptId: result?.interrupts[0]?.id ?? "", approved: true }];
    const { response } = await other.resumeRun({ thread: "approved", decisions });
    expect(response?.response).toContain('Published "News" as number 1.');
    expect((await contents("approved")).at(-1)).toBe(response?.response);
    expect(reasonOf(await failureOf(other.resumeRun({ thread: "approved", decisions })))).toBe("NOT_INTERRUPTED");
  });

  test("can be approved with a stream, whose events go on behind those before and can be resumed", async () => {
    const asked = await readStream(mesh.agent.streamQuery(react("streamed")));
    const decisions = [{ interruptId: asked.result?.interrupts[0]?.id ?? "", approved: true }];
    const stream = await readStream(other.streamResumeRun({ thread: "streamed", decisions }));
    expect(stream.cases.filter((one) => one !== "token")).toEqual(["started", "toolCall", "toolResult", "step", "step", "usage", "result"]);
    expect(stream.result?.response).toContain("Published");
    expect(stream.text).toBe(stream.result?.response);
    const afterTool = stream.events.find(({ event }) => event.case === "toolResult")?.eventId ?? "";
    const rest = await readStream(mesh.agent.resumeStream({ eventId: afterTool }));
    expect(rest.cases.filter((one) => one !== "token")).toEqual(["step", "step", "usage", "result"]);
    expect(rest.result?.response).toBe(stream.result?.response);
    const again = readStream(other.streamResumeRun({ thread: "streamed", decisions }));
    expect(reasonOf(await failureOf(again))).toBe("NOT_INTERRUPTED");
  });

  test("is not called when it is refused, and the model is told why", async () => {
    const { interrupts } = await mesh.agent.query(react("refused"));
    const decisions = [{ interruptId: interrupts[0]?.id ?? "", approved: false, comment: "Not on a Friday." }];
    const { response } = await mesh.agent.resumeRun({ thread: "refused", decisions });
    expect(response?.response).toBe("I saw: The call was not approved. Not on a Friday.");
  });

  test("is not called when something else is asked meanwhile", async () => {
    const { interrupts } = await mesh.agent.query(react("forgotten"));
    double.script = () => ({ text: "As you like." });
    expect((await mesh.agent.query({ query: "Forget it.", agentType: "react", threadId: "forgotten" })).response).toBe("As you like.");
    const decisions = [{ interruptId: interrupts[0]?.id ?? "", approved: true }];
    expect(reasonOf(await failureOf(mesh.agent.resumeRun({ thread: "forgotten", decisions })))).toBe("NOT_INTERRUPTED");
  });

  test.each([{ decisions: [{ interruptId: "x", approved: true }] }, { decisions: [] }])("is not approved by $decisions", async ({ decisions }) => {
    await mesh.agent.query(react("wrong-decision"));
    const error = await failureOf(mesh.agent.resumeRun({ thread: "wrong-decision", decisions }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain("decisions");
  });

  test("of a run that asks nothing cannot be resumed", async () => {
    await mesh.agent.query({ query: "When does the pump stop?", threadId: "asks-nothing" });
    const error = await failureOf(mesh.agent.resumeRun({ thread: "asks-nothing", decisions: [{ interruptId: "x" }] }));
    expect([error.code, reasonOf(error)]).toEqual([Code.FailedPrecondition, "NOT_INTERRUPTED"]);
    expect(reasonOf(await failureOf(mesh.agent.resumeRun({ thread: "no:thread", decisions: [{ interruptId: "x" }] })))).toBe("THREAD_NOT_FOUND");
  });
});
