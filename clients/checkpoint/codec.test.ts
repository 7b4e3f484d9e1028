import { isDeepStrictEqual } from "node:util";
import * as core from "@langchain/core/messages";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "./codec.js";

const there = (value: unknown) => decode(encode(value));

describe("encoding", () => {
  test("leaves plain data plain JSON", () => {
    const plain = { a: [1, "two", true, null, { b: -1.5 }] };
    expect(encode(plain)).toBe(JSON.stringify(plain));
  });

  test("is one line of text", () => {
    expect(encode(["a\nb\r\u2028", new Map([["\n", "\n"]])])).not.toMatch(/[\n\r]/);
  });

  test("keeps any JSON value", () => {
    fc.assert(fc.property(fc.jsonValue({ depthSize: "medium" }), (value) => isDeepStrictEqual(there(value), value)));
  });

  test("keeps any data with the built-in values in any place", () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withNullPrototype: false,
      withSparseArray: false,
      key: fc.oneof(fc.string(), fc.constantFrom("$type", "__proto__", "constructor", "toString", "lc")),
    });
    fc.assert(fc.property(anything, (value) => isDeepStrictEqual(there(value), value)), { numRuns: 500 });
  });

  test("does not change what it is given", () => {
    const value = Object.freeze({ date: new Date(0), list: Object.freeze([undefined, Object.freeze({ $type: "x" })]) });
    expect(there(value)).toStrictEqual(value);
  });

  test("leaves functions and symbols out, as JSON does", () => {
    expect(there({ f: () => 1, s: Symbol("s"), a: [() => 1, 2] })).toStrictEqual({ a: [null, 2] });
    expect(there(() => 1)).toBeUndefined();
  });

  test("takes what objects say of themselves for JSON, and else their own fields", () => {
    class Point {
      x = 1;
      get double() {
        return this.x * 2;
      }
    }
    class Amount {
      toJSON() {
        return { cents: 5n };
      }
    }
    expect(there({ point: new Point(), amount: new Amount() })).toStrictEqual({ point: { x: 1 }, amount: { cents: 5n } });
    expect(there(Object.assign(Object.create(null), { a: 1 }))).toStrictEqual({ a: 1 });
  });

  test.each([
    ["itself", () => { const a: unknown[] = []; a.push(a); return a; }],
    ["itself, further in", () => { const a: { b?: unknown } = {}; a.b = new Map([["c", new Set([a])]]); return a; }],
  ])("refuses a value that contains %s", (_, make) => {
    expect(() => encode(make())).toThrow("a value that contains itself cannot be stored");
  });

  test("takes the same object in two places for two", () => {
    const shared = { a: 1 };
    expect(there([shared, shared])).toStrictEqual([{ a: 1 }, { a: 1 }]);
  });
});

describe("messages", () => {
  const messages: core.BaseMessage[] = [
    new core.HumanMessage("hi"),
    new core.HumanMessage({ content: [{ type: "text", text: "a" }, { type: "image_url", image_url: { url: "data:" } }], id: "1", name: "n", additional_kwargs: { k: 1n } }),
    new core.AIMessage("hello"),
    new core.AIMessage({ content: "", tool_calls: [{ name: "f", args: { when: new Date(0) }, id: "c", type: "tool_call" }], invalid_tool_calls: [{ name: "g", args: "{", id: "d", error: "bad" }] }),
    new core.AIMessage({ content: "x", additional_kwargs: { tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }] } }),
    new core.AIMessage({ content: "x", response_metadata: { model: "m", usage: { prompt_tokens: 1 } }, usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3, input_token_details: { cache_read: 1 } } }),
    new core.AIMessage({ contentBlocks: [{ type: "text", text: "v1" }] }),
    new core.AIMessageChunk({ content: "par", tool_call_chunks: [{ name: "f", args: '{"a":1}', id: "c", index: 0 }] }),
    new core.AIMessageChunk("tial"),
    new core.SystemMessage("be kind"),
    new core.ToolMessage({ content: "42", tool_call_id: "c", artifact: new Map([[1, 2]]), status: "error", name: "f" }),
    new core.ToolMessageChunk({ content: "4", tool_call_id: "c" }),
    new core.FunctionMessage({ content: "f", name: "f" }),
    new core.ChatMessage({ content: "c", role: "critic" }),
    new core.RemoveMessage({ id: "1" }),
    new core.HumanMessageChunk("h"),
    new core.SystemMessageChunk("s"),
    new core.FunctionMessageChunk({ content: "f", name: "f" }),
    new core.ChatMessageChunk({ content: "c", role: "critic" }),
  ];

  test.each(messages.map((message) => [message.constructor.name, message] as const))("%s come back as they were", (_, message) => {
    const back = there(message) as core.BaseMessage;
    expect(back.constructor).toBe(message.constructor);
    expect(back.contentBlocks).toEqual(message.contentBlocks);
    // What a class was made from is its own affair: it may have been a text, or blocks.
    const { lc_kwargs: _made, ...fields } = message;
    expect(back).toMatchObject(fields);
    expect(Object.keys(back).sort()).toEqual(Object.keys(message).sort());
  });

  test("come back with what was changed after they were made", () => {
    const message = new core.AIMessage("first");
    message.content = "second";
    message.id = "later";
    message.name = "bot";
    message.tool_calls = [{ name: "f", args: {}, id: "c" }];
    message.usage_metadata = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
    expect(there(message)).toMatchObject({ content: "second", id: "later", name: "bot", tool_calls: [{ name: "f" }], usage_metadata: { total_tokens: 2 } });
  });

  test("of derived classes come back as the class of @langchain/core", () => {
    class Question extends core.HumanMessage {
      static override lc_name() {
        return "Question";
      }
    }
    expect((there(new Question("why?")) as object).constructor).toBe(core.HumanMessage);
  });
});

describe("hostile data", () => {
  const allowed = new Set<unknown>([
    Object.prototype, Array.prototype, Date.prototype, Map.prototype, Set.prototype, RegExp.prototype, Error.prototype,
    ArrayBuffer.prototype, Uint8Array.prototype, Float64Array.prototype,
    ...Object.values(core).flatMap((value) => (typeof value === "function" && "prototype" in value ? [value.prototype as unknown] : [])),
  ]);
  /** Fails on anything that is neither plain data nor built in nor a message. */
  function expectHarmless(value: unknown): void {
    if (typeof value === "function") expect.fail("a function");
    if (typeof value !== "object" || value === null) return;
    expect(allowed.has(Object.getPrototypeOf(value))).toBe(true);
    for (const part of value instanceof Map ? [...value.entries()].flat() : value instanceof Set ? [...value] : Object.values(value)) expectHarmless(part);
  }

  const lc = (id: string[], kwargs: object = {}) => ({ lc: 1, type: "constructor", id, kwargs });

  test.each([
    lc(["langchain", "llms", "openai", "OpenAI"], { openAIApiKey: "stolen", configuration: { baseURL: "http://evil" } }),
    lc(["langchain", "chat_models", "openai", "ChatOpenAI"], { temperature: 0 }),
    lc(["langchain_core", "messages", "HumanMessage"], { content: "not a message" }),
    lc(["langchain_core", "prompts", "prompt", "PromptTemplate"], { template: "{x}", input_variables: ["x"], template_format: "f-string" }),
    lc(["langchain_core", "runnables", "RunnableLambda"], { func: "process.exit(1)" }),
    { lc: 1, type: "secret", id: ["OPENAI_API_KEY"] },
    { lc: 2, type: "constructor", id: ["Function"], method: null, args: ["return process"], kwargs: {} },
    { lc: 2, type: "constructor", id: ["Set"], method: "constructor", args: [[1]] },
    { lc: 2, type: "undefined" },
    { lc: 2, type: "delta_snapshot", value: 1 },
    { lg_name: "Command", goto: [{ lg_name: "Send", node: "x", args: {} }], graph: "__parent__" },
    JSON.parse('{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}') as object,
  ])("from a program stays the plain data that it is: %j", (value) => {
    const back = there({ nested: [value] }) as { nested: unknown[] };
    expect(isDeepStrictEqual(back, { nested: [value] })).toBe(true);
    expect(Object.getPrototypeOf(back.nested[0])).toBe(Object.prototype);
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });

  test.each([
    '{"$type":"message","class":"OpenAI","fields":{"apiKey":"x"}}',
    '{"$type":"message","class":"constructor","fields":{}}',
    '{"$type":"message","class":"__proto__","fields":{}}',
    '{"$type":"message","class":"BaseMessage","fields":{}}',
    '{"$type":"message","class":"HumanMessage"}',
    '{"$type":"message","class":"HumanMessage","fields":null}',
    '{"$type":"message","class":["HumanMessage"],"fields":{}}',
    '{"$type":"bytes","class":"Function","base64":"AAAA"}',
    '{"$type":"bytes","class":"constructor","base64":"AAAA"}',
    '{"$type":"bytes","class":"Float64Array","base64":"AAAA"}',
    '{"$type":"bytes","class":"Uint8Array","base64":7}',
    '{"$type":"regexp","source":"(","flags":""}',
    '{"$type":"regexp","source":"a","flags":"zz"}',
    '{"$type":"map","entries":[[1]]}',
    '{"$type":"map","entries":"ab"}',
    '{"$type":"set","values":{"length":1}}',
    '{"$type":"bigint","value":"1e9"}',
    '{"$type":"date","value":"x"}',
    '{"$type":"number","value":"1"}',
    '{"$type":"error","name":{},"message":"x"}',
    '{"$type":"object","entries":[["a"]]}',
    '{"$type":"eval","code":"process.exit(1)"}',
    '{"$type":null}',
    '{"$type":{"$type":"undefined"}}',
  ])("in the store stays inert: %s", (text) => {
    const value = decode(text);
    expectHarmless(value);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  test.each([
    '{"$type":"object","entries":[["__proto__",{"isAdmin":true}]]}',
    '{"$type":"message","class":"HumanMessage","fields":{"content":"x","__proto__":{"isAdmin":true},"lc_kwargs":{"a":1},"constructor":{"x":1}}}',
    '{"$type":"message","class":"AIMessage","fields":{"content":"x","tool_calls":"no list","additional_kwargs":{"tool_calls":"no list"}}}',
    '{"$type":"error","name":"TypeError","message":"m","cause":{"$type":"message","class":"AIMessage","fields":{}}}',
    '[{"$type":"map","entries":[[{"$type":"set","values":[{"$type":"undefined"}]},{"$type":"bytes","class":"Uint8Array","base64":"AA=="}]]}]',
  ])("in the store makes nothing but data and messages: %s", (text) => {
    expectHarmless(decode(text));
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });
});
