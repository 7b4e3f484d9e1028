import { AIMessageChunk } from "@langchain/core/messages";
import { Code, type ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { failureOf } from "../../tests/failure-of.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { meshError, reasonOf, retryAfterMsOf } from "../errors.js";
import type { Answerer } from "./answerer.js";
import { answererWithStandIns, withStandIns } from "./fallback.js";
import { type LanguageModel, type ModelReply, type ModelRequest, NO_USAGE, type OnText } from "./language-model.js";
import { reliableModel } from "./reliable-model.js";

const down = (retryAfterMs?: number) =>
  meshError(Code.Unavailable, ErrorReason.MODEL_UNAVAILABLE, "down", retryAfterMs === undefined ? {} : { retryAfterMs });
const refusal = meshError(Code.FailedPrecondition, ErrorReason.MODEL_UNAVAILABLE, "wrong key");

/** What a model does with one request: text, an error, or silence until it is cancelled. */
type Act = string | ConnectError | "hang";

/** Does these in turn, the last one again and again. A text before an error is shown first. */
function scripted(name: string, ...acts: Act[][]): LanguageModel & { asked: number } {
  return {
    name,
    asked: 0,
    async reply({ signal }: ModelRequest, onText?: OnText) {
      const turn = acts[Math.min(this.asked, acts.length - 1)] ?? [];
      this.asked += 1;
      let text = "";
      for (const act of turn) {
        if (act === "hang") await new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
        if (typeof act !== "string") throw act;
        text += act;
        onText?.(act);
      }
      return { message: new AIMessageChunk(text), text, usage: NO_USAGE, model: name };
    },
  };
}

function read(model: LanguageModel, signal?: AbortSignal): Promise<ModelReply> {
  return model.reply({ messages: [], temperature: 0, maxTokens: 1, signal });
}

function setUp(...acts: Act[][]) {
  const clock = new ManualClock();
  const inner = scripted("m", ...acts);
  const model = reliableModel(inner, { clock, retries: 2, firstTokenMs: 1_000, totalMs: 5_000, jitter: () => 0.5 });
  return { clock, inner, model };
}

describe("a reliable model", () => {
  test.each([
    { name: "a transient failure", acts: [[down()], ["ok"]], waits: [250] },
    { name: "two of them, longer the second time", acts: [[down()], [down()], ["ok"]], waits: [250, 500] },
    { name: "a reply with nothing in it", acts: [[], [" \n"], ["ok"]], waits: [250, 500] },
    { name: "as long as the provider asks for", acts: [[down(3_000)], ["ok"]], waits: [3_000] },
  ] satisfies { name: string; acts: Act[][]; waits: number[] }[])("tries again after $name", async ({ acts, waits }) => {
    const { clock, inner, model } = setUp(...acts);
    const reading = read(model);
    await clock.advance(0);
    for (const [i, wait] of waits.entries()) {
      await clock.advance(wait - 1);
      expect(inner.asked).toBe(i + 1);
      await clock.advance(1);
    }
    expect((await reading).text).toBe("ok");
  });

  test.each([
    { name: "a refusal", acts: [[refusal], ["ok"]], asked: 1 },
    { name: "a failure after text was shown", acts: [["half ", down()], ["ok"]], asked: 1 },
    { name: "a pause that is too long", acts: [[down(60_000)], ["ok"]], asked: 1 },
  ])("does not try again after $name", async ({ acts, asked }) => {
    const { inner, model } = setUp(...acts);
    await failureOf(read(model));
    expect(inner.asked).toBe(asked);
  });

  test("gives up after its retries, with the last error", async () => {
    const { clock, inner, model } = setUp([down()]);
    const failing = failureOf(read(model));
    await clock.advance(0);
    await clock.advance(250);
    await clock.advance(500);
    expect((await failing).rawMessage).toBe("down");
    expect(inner.asked).toBe(3);
  });

  test("that is silent costs one timeout, then nothing until it is probed", async () => {
    const { clock, inner, model } = setUp(["hang"], ["ok"]);
    const first = failureOf(read(model));
    await clock.advance(0);
    await clock.advance(1_000);
    expect(await first).toMatchObject({ code: Code.Unavailable, rawMessage: "The model m did not answer in time; try again." });
    const second = await failureOf(read(model));
    expect([reasonOf(second), retryAfterMsOf(second)]).toEqual(["MODEL_UNAVAILABLE", 15_000]);
    expect(inner.asked).toBe(1);
    await clock.advance(15_000);
    expect((await read(model)).text).toBe("ok");
    expect((await read(model)).text).toBe("ok");
  });

  test("lets one caller probe, and stays away when that fails", async () => {
    const { clock, inner, model } = setUp(["hang"]);
    const first = failureOf(read(model));
    await clock.advance(0);
    await clock.advance(1_000);
    await first;
    await clock.advance(15_000);
    const probe = failureOf(read(model));
    await failureOf(read(model));
    expect(inner.asked).toBe(2);
    await clock.advance(1_000);
    await probe;
    await failureOf(read(model));
    expect(inner.asked).toBe(2);
  });

  test("that answers with nothing again and again is MODEL_UNAVAILABLE, and is not taken to be down", async () => {
    const { clock, inner, model } = setUp([]);
    for (let request = 0; request < 3; request += 1) {
      const failing = failureOf(read(model));
      for (let pause = 0; pause < 4; pause += 1) await clock.advance(1_000);
      expect((await failing).message).toContain("answered with nothing");
    }
    expect(inner.asked).toBe(9);
  });

  test("is left alone after five failures in a row", async () => {
    const { clock, inner, model } = setUp([down()]);
    for (let request = 0; request < 2; request += 1) {
      const failing = failureOf(read(model));
      await clock.advance(0);
      for (let pause = 0; pause < 3; pause += 1) await clock.advance(1_000);
      await failing;
    }
    expect(inner.asked).toBe(5);
  });

  test("ends a reply that takes too long, however much of it has come", async () => {
    const { clock, model } = setUp(["begin ", "hang"]);
    const failing = failureOf(read(model));
    await clock.advance(0);
    await clock.advance(5_000);
    expect((await failing).code).toBe(Code.Unavailable);
  });

  test("does not hold a caller's leaving against the model", async () => {
    const { inner, model } = setUp(["hang"], ["ok"]);
    const gone = new AbortController();
    const failing = read(model, gone.signal).catch((error: unknown) => error);
    await expect.poll(() => inner.asked).toBe(1);
    gone.abort(new Error("gone"));
    expect(await failing).toMatchObject({ message: "gone" });
    expect((await read(model)).text).toBe("ok");
  });
});

describe("stand-ins", () => {
  test("answer in their order for a model that cannot be reached, and say who they are", async () => {
    const model = withStandIns(scripted("a", [down()]), [scripted("b", [down()]), scripted("c", ["from c"])]);
    expect(await read(model)).toMatchObject({ text: "from c", model: "c" });
  });

  test.each([
    { name: "a refusal", act: [refusal] },
    { name: "text was shown", act: ["half ", down()] },
  ])("do not take over after $name", async ({ act }) => {
    const standIn = scripted("b", ["from b"]);
    await failureOf(read(withStandIns(scripted("a", act), [standIn])));
    expect(standIn.asked).toBe(0);
  });

  test("may be other answerers", async () => {
    const answererOf = (model: LanguageModel): Answerer => ({
      model: model.name,
      async answer() {
        const { text } = await read(model);
        return { text, citations: [], usage: NO_USAGE, model: model.name };
      },
    });
    const answerer = answererWithStandIns(answererOf(scripted("a", [down()])), [answererOf(scripted("built-in", ["quoted"]))]);
    const answer = await answerer.answer({ question: "?", passages: [], temperature: 0, maxTokens: 1 });
    expect([answerer.model, answer.text, answer.model]).toEqual(["a", "quoted", "built-in"]);
  });
});
