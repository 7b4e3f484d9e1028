import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../../../runtime/errors.js";
import { runSettings } from "../settings.js";
import { observe } from "./observe.js";
import type { Tool } from "./tool.js";

const parameters = {
  type: "object",
  properties: { city: { type: "string", minLength: 2 } },
  required: ["city"],
  additionalProperties: false,
};
const run = { settings: runSettings({ kind: { type: "react" }, version: "1", settings: undefined }, { nameOf: () => "m" }), signal: new AbortController().signal };

function call(work: Tool["run"], args: unknown = { city: "Bern" }, timeoutMs = 1_000, signal = run.signal) {
  const tool: Tool = { name: "weather", description: "Tells the weather.", parameters, run: work };
  return observe({ id: "1", name: "weather", args }, [tool], { ...run, signal }, timeoutMs);
}

describe("a tool call is observed", () => {
  test.each([
    { returns: "sunny", text: "sunny" },
    { returns: { degrees: 21 }, text: '{"degrees":21}' },
    { returns: undefined, text: "Done." },
    { returns: "x".repeat(20_000), text: `${"x".repeat(16_000)}\n(4000 more characters were cut)` },
  ])("as what it returned", async ({ returns, text }) => {
    expect(await call(async () => returns)).toEqual({ text, failed: false, passages: [] });
  });

  test.each([
    { name: "wrong arguments", args: { city: "B", zip: 1 }, says: /^The arguments are wrong: [^]*city[^]*zip|^The arguments are wrong: [^]*zip[^]*city/ },
    { name: "arguments that are no object", args: '{"city"', says: /^The arguments are wrong/ },
    { name: "an exception", work: async () => Promise.reject(new Error("no network")), says: /^The tool failed: no network$/ },
    { name: "a hang", work: () => new Promise<never>(() => {}), timeoutMs: 5, says: /took longer than 0.005 s/ },
  ])("as a failure: $name", async ({ args, work, says, timeoutMs }) => {
    const observation = await call(work ?? (async () => "not reached"), args, timeoutMs);
    expect(observation).toMatchObject({ failed: true, text: expect.stringMatching(says) });
  });

  test("as a failure when there is no such tool", async () => {
    const observation = await observe({ id: "1", name: "magic", args: {} }, [], run);
    expect(observation).toEqual({ text: "There is no tool magic; known: .", failed: true, passages: [] });
  });

  test("not at all when the run is over, and the tool hears of it", async () => {
    const gone = new AbortController();
    const reason = new Error("gone");
    let heard = false;
    const pending = call((_, { signal }) => new Promise(() => signal.addEventListener("abort", () => (heard = true))), undefined, 1_000, gone.signal);
    gone.abort(reason);
    await expect(pending).rejects.toBe(reason);
    expect(heard).toBe(true);
  });

  test("not at all when the request is at fault", async () => {
    const error = meshError(Code.NotFound, ErrorReason.COLLECTION_NOT_FOUND, "No such collection.");
    await expect(call(async () => Promise.reject(error))).rejects.toBe(error);
  });
});
