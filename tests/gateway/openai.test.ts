import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type OpenAiDouble, type ScriptedReply, startOpenAiDouble } from "../servers/openai-double.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";

/** A mesh whose agents think with a scripted model. */
let mesh: TestMesh;
let model: OpenAiDouble;
let client: OpenAI;

beforeAll(async () => {
  model = await startOpenAiDouble();
  mesh = await startTestMesh({ OPENAI_BASE_URL: model.baseUrl, OPENAI_MODEL: "scripted", RAGENTS_LLM_RETRIES: "0", RAGENTS_TENANT_CALLS: "4" });
  const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", {
    documents: [
      { id: "kingfisher.md", text: "The kingfisher eats small fish. It dives from a branch above clear water." },
      { id: "otter.md", text: "# Otter\n\nThe otter lives in a holt by the river and eats eels." },
    ],
  });
  expect(await jobEnd(mesh, body.id)).toMatchObject({ state: "SUCCEEDED" });
  client = new OpenAI({ baseURL: `${mesh.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await mesh?.stop();
  await model?.close();
});

/** Has the built-in model answer, by a parameter that OpenAI's client does not know. */
const builtIn = { config_overrides: { model: "extractive" } };
beforeEach(() => {
  model.requests.length = 0;
});

const inTurn = (...replies: ScriptedReply[]) => {
  model.script = (_, count) => replies[count - 1] ?? { status: 500 };
};

const weather = {
  type: "function" as const,
  function: { name: "weather", description: "Tells the weather.", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

describe("chat completions", () => {
  test("answer with citations as annotations", async () => {
    const { choices, object, usage, ...rest } = await client.chat.completions.create({
      model: "simple",
      messages: [{ role: "user", content: "What does the otter eat?" }],
      ...builtIn,
    });
    expect(object).toBe("chat.completion");
    const { message, finish_reason } = choices[0]!;
    expect(finish_reason).toBe("stop");
    expect(message.content).toContain("eels");
    expect(usage).toEqual({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
    expect(rest).toMatchObject({ model: "simple", ragents: { collection: "default", model: "extractive", agent_version: expect.stringMatching(/^[0-9a-f]{8}$/), thread_id: expect.stringMatching(/./) } });
    const [annotation] = message.annotations as unknown as { type: string; file_citation: Record<string, any> }[];
    expect(annotation).toMatchObject({ type: "file_citation", file_citation: { file_id: "otter.md", filename: "otter.md" } });
    const { start_index, end_index, quote } = annotation!.file_citation;
    expect(message.content!.slice(start_index, end_index)).toBe("[1]");
    expect(quote).toContain("eels");
  });

  test("stream what they answer at once, and count tokens when asked", async () => {
    inTurn({ text: "It eats small fish [1]." });
    const stream = await client.chat.completions.create({
      model: "simple",
      messages: [{ role: "user", content: "What do kingfishers eat?" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks[0]?.choices[0]?.delta).toMatchObject({ role: "assistant", content: "" });
    expect(chunks.length).toBeGreaterThan(5);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("It eats small fish [1].");
    const annotations = chunks.flatMap(({ choices }) => (choices[0]?.delta as { annotations?: object[] } | undefined)?.annotations ?? []);
    expect(annotations).toMatchObject([{ file_citation: { file_id: "kingfisher.md", start_index: 19, end_index: 22 } }]);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105 } });
  });

  test("the client's own helper puts a stream together", async () => {
    inTurn({ text: "Eels [1]." });
    const whole = await client.chat.completions
      .stream({ model: "simple", messages: [{ role: "user", content: "Which animals does an otter hunt?" }] })
      .finalChatCompletion();
    expect(whole.choices[0]?.message.content).toBe("Eels [1].");
  });

  test("understand a question by the messages before it, and follow the system's", async () => {
    const { choices } = await client.chat.completions.create({
      model: "simple",
      messages: [
        { role: "user", content: "What does the otter eat?" },
        { role: "assistant", content: "It eats eels." },
        { role: "user", content: [{ type: "text", text: "Where does it live?" }] },
      ],
      ...builtIn,
    });
    expect(choices[0]?.message.content).toContain("holt");
    inTurn({ text: "Where does the otter live?" }, { text: "IN A HOLT [1]." });
    await client.chat.completions.create({
      model: "simple",
      messages: [
        { role: "developer", content: "Write in capitals." },
        { role: "user", content: "What does the otter eat?" },
        { role: "assistant", content: "EELS." },
        { role: "user", content: "And where does it live?" },
      ],
      temperature: 0.2,
      max_completion_tokens: 77,
    });
    const last = model.requests.at(-1)!;
    expect(last).toMatchObject({ temperature: 0.2 });
    expect(last.messages[0]).toMatchObject({ role: "system", content: expect.stringContaining("<application>\nWrite in capitals.\n</application>") });
    expect(last.messages.slice(1).map(({ role, content }) => [role, content])).toEqual([
      ["user", "What does the otter eat?"],
      ["assistant", "EELS."],
      ["user", "And where does it live?"],
    ]);
  });

  test("hand the caller's tools to react's model, and go on with what they returned", async () => {
    inTurn({ toolCalls: [{ name: "weather", arguments: { city: "Bern" } }] }, { text: "It rains in Bern." });
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "What is the weather in Bern?" }];
    const asked = await client.chat.completions.create({ model: "react", messages, tools: [weather] });
    const { message, finish_reason } = asked.choices[0]!;
    expect(finish_reason).toBe("tool_calls");
    expect(message.content).toBeNull();
    const [call] = message.tool_calls!;
    expect(call).toMatchObject({ type: "function", function: { name: "weather", arguments: '{"city":"Bern"}' } });
    expect(model.requests[0]?.tools?.map((tool) => tool.function.name)).toEqual(["search_knowledge_base", "weather"]);
    messages.push(message, { role: "tool", tool_call_id: call!.id, content: "rain, 8 degrees" });
    const done = await client.chat.completions.create({ model: "react", messages, tools: [weather] });
    expect(done.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "It rains in Bern." } });
    expect(model.requests[1]?.messages.slice(-2)).toMatchObject([
      { role: "assistant", tool_calls: [{ id: call!.id }] },
      { role: "tool", tool_call_id: call!.id, content: "rain, 8 degrees" },
    ]);
  });

  test("stream calls of the caller's tools", async () => {
    inTurn({ toolCalls: [{ name: "weather", arguments: { city: "Basel" } }] });
    const runner = client.chat.completions.stream({ model: "react", messages: [{ role: "user", content: "And in Basel?" }], tools: [weather] });
    const { choices } = await runner.finalChatCompletion();
    expect(choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { tool_calls: [{ function: { name: "weather", arguments: '{"city":"Basel"}' } }] } });
  });

  test("go on with a thread", async () => {
    const ask = (content: string) =>
      client.chat.completions.create({ model: "simple", messages: [{ role: "user", content }], thread_id: "by-openai", ...builtIn } as never) as Promise<OpenAI.ChatCompletion>;
    await ask("What does the otter eat?");
    expect((await ask("Where does it live?")).choices[0]?.message.content).toContain("holt");
    expect((await mesh.rest("GET", "/v1/threads/by-openai")).body).toMatchObject({ message_count: 4 });
  });

  test("of a client that leaves are cancelled, down to the model", async () => {
    model.script = () => ({ hang: true });
    const stream = await client.chat.completions.create({
      model: "simple",
      messages: [{ role: "user", content: "What does nobody wait for?" }],
      stream: true,
    });
    await expect.poll(() => model.requests.length, { timeout: 10_000 }).toBe(1);
    stream.controller.abort();
    await expect.poll(() => model.requests.at(-1)?.aborted, { timeout: 10_000 }).toBe(true);
  });

  test("name a version of an agent, and no other", async () => {
    const agents = (await mesh.rest("GET", "/agents")).body.agents as { agent_type: string; version: string }[];
    const { version } = agents.find(({ agent_type }) => agent_type === "simple")!;
    const messages = [{ role: "user" as const, content: "What does the otter eat?" }];
    expect((await client.chat.completions.create({ model: `simple@${version}`, messages, ...builtIn })).model).toBe(`simple@${version}`);
    await expect(client.chat.completions.create({ model: "simple@00000000", messages })).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });
});

describe("errors have OpenAI's form", () => {
  const user = { role: "user" as const, content: "What?" };
  test.each<[string, object, Partial<APIError>]>([
    ["an unknown model", { model: "gpt-5", messages: [user] }, { status: 404, code: "model_not_found", param: "model", type: "invalid_request_error" }],
    ["no messages", { model: "simple", messages: [] }, { status: 400, param: "messages", code: "invalid_value" }],
    ["a wrong role", { model: "simple", messages: [{ role: "judge", content: "x" }] }, { status: 400, param: "messages[0].role" }],
    ["no user", { model: "simple", messages: [{ role: "system", content: "x" }] }, { status: 400, param: "messages" }],
    ["an image", { model: "simple", messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }, { status: 400, param: "messages[0].content[0]", code: "unsupported_parameter" }],
    ["two choices", { model: "simple", messages: [user], n: 2 }, { status: 400, param: "n", code: "unsupported_parameter" }],
    ["tools for an agent without", { model: "simple", messages: [user], tools: [weather] }, { status: 400, param: "tools" }],
    ["a tool that is there already", { model: "react", messages: [user], tools: [{ ...weather, function: { name: "search_knowledge_base" } }] }, { status: 400, param: "tools" }],
    ["a temperature of 3", { model: "simple", messages: [user], temperature: 3 }, { status: 400, param: "temperature" }],
    ["more tokens than there are", { model: "simple", messages: [user], max_tokens: 3_000_000_000 }, { status: 400, param: "max_tokens" }],
    ["a question that is too long", { model: "simple", messages: [{ role: "user", content: "x".repeat(9000) }] }, { status: 400, param: "messages" }],
    ["a result without a call", { model: "react", messages: [user, { role: "tool", tool_call_id: "1", content: "x" }] }, { status: 400, param: "messages[1]" }],
    ["overrides that are none", { model: "simple", messages: [user], config_overrides: { top_q: 1 } }, { status: 400, param: "config_overrides" }],
  ])("%s", async (_, body, expected) => {
    for (const stream of [false, true]) {
      const error = await client.chat.completions.create({ ...body, stream } as never).then(
        () => undefined,
        (failure: unknown) => failure,
      );
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject(expected);
      expect((error as APIError).requestID).toMatch(/\S/);
    }
  });

  test("a model that fails in the middle of a stream", async () => {
    inTurn({ text: "Half of the answer is here and then it ends", breakAfter: 4 });
    const stream = await client.chat.completions.create({
      model: "simple",
      messages: [{ role: "user", content: "What breaks off?" }],
      stream: true,
    });
    const read = (async () => {
      for await (const chunk of stream) void chunk;
    })();
    await expect(read).rejects.toBeInstanceOf(APIError);
  });

  test("other methods and bodies", async () => {
    const wrong = await mesh.rest("GET", "/v1/chat/completions");
    expect([wrong.status, wrong.headers.get("allow"), wrong.body]).toMatchObject([405, "POST, OPTIONS", { error: { type: "invalid_request_error" } }]);
    expect(await mesh.rest("POST", "/v1/chat/completions", "{")).toMatchObject({ status: 400, body: { error: { code: "malformed_json" } } });
    expect(await mesh.rest("POST", "/v1/embeddings", "x".repeat(5 << 20))).toMatchObject({ status: 413, body: { error: { code: "body_too_large" } } });
  });
});

describe("models", () => {
  test("are the agents and the embedding models", async () => {
    const ids: string[] = [];
    for await (const { id, object } of client.models.list()) {
      expect(object).toBe("model");
      ids.push(id);
    }
    expect(ids).toEqual(expect.arrayContaining(["simple", "react", "langgraph", "logical", "static-256"]));
    expect(await client.models.retrieve("react")).toMatchObject({ id: "react", owned_by: "ragents" });
    await expect(client.models.retrieve("none")).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });
});

describe("responses", () => {
  test("answer with citations as annotations", async () => {
    const { output_text: text, output, usage, status } = await client.responses.create({
      model: "simple",
      instructions: "Answer briefly.",
      input: [
        { role: "user", content: "What does the otter eat?" },
        { role: "assistant", content: "Eels." },
        { role: "user", content: [{ type: "input_text", text: "What does the kingfisher eat?" }] },
      ],
      ...(builtIn as object),
    });
    expect([status, usage?.total_tokens]).toEqual(["completed", 0]);
    expect(text).toContain("small fish");
    const [message] = output as OpenAI.Responses.ResponseOutputMessage[];
    const [{ annotations }] = message!.content as [OpenAI.Responses.ResponseOutputText];
    expect(annotations[0]).toMatchObject({ type: "file_citation", file_id: "kingfisher.md", filename: "kingfisher.md", index: text.indexOf("[1]") });
  });

  test("stream, as the client's own helper reads them", async () => {
    inTurn({ text: "It eats small fish [1]." });
    const types: string[] = [];
    const stream = client.responses.stream({ model: "simple", input: "Which food does a kingfisher like?" });
    let deltas = "";
    for await (const event of stream) {
      if (types.at(-1) !== event.type) types.push(event.type);
      if (event.type === "response.output_text.delta") deltas += event.delta;
    }
    expect(types).toEqual([
      ...["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.delta"],
      ...["response.output_text.annotation.added", "response.output_text.done", "response.content_part.done", "response.output_item.done"],
      "response.completed",
    ]);
    const whole = await stream.finalResponse();
    expect([deltas, whole.output_text, whole.usage?.output_tokens]).toEqual(["It eats small fish [1].", "It eats small fish [1].", 5]);
  });

  test.each<[string, object, object]>([
    ["an unknown agent", { model: "none", input: "x" }, { status: 404, code: "model_not_found", param: "model" }],
    ["a stored response", { model: "simple", input: "x", previous_response_id: "resp_1" }, { status: 400, param: "previous_response_id" }],
    ["tools", { model: "simple", input: "x", tools: [weather] }, { status: 400, param: "tools" }],
    ["a form of answer", { model: "simple", input: "x", text: { format: { type: "json_object" } } }, { status: 400, param: "text" }],
    ["an image", { model: "simple", input: [{ role: "user", content: [{ type: "input_image" }] }] }, { status: 400, param: "input[0].content[0]" }],
    ["no question", { model: "simple", input: [{ role: "assistant", content: "x" }] }, { status: 400, param: "input" }],
  ])("refuse %s", async (_, body, expected) => {
    await expect(client.responses.create(body as never)).rejects.toMatchObject(expected);
  });
});

test("a tenant with as many calls under way as it may have is refused with 429, and told when to come back", async () => {
  model.script = () => ({ hang: true });
  const leave = new AbortController();
  const ask = (content: string, signal?: AbortSignal) => client.chat.completions.create({ model: "simple", messages: [{ role: "user", content }] }, { signal });
  const held = ["one", "two", "three", "four"].map((number) => ask(`What is otter number ${number}?`, leave.signal).catch((error: unknown) => error));
  await expect.poll(() => model.requests.length, { timeout: 10_000 }).toBe(4);
  const refused = await ask("What is otter number five?").catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
  expect((refused as APIError).headers?.get("retry-after")).toBe("1");
  leave.abort();
  await Promise.all(held);
});

describe("embeddings", () => {
  test("are the same as numbers and as base64, which the client asks for by itself", async () => {
    const input = ["The otter eats eels.", "An otter feeds on eels.", "Bonds fell on Tuesday."];
    const packed = await client.embeddings.create({ model: "static-256", input });
    const plain = await client.embeddings.create({ model: "static-256", input, encoding_format: "float" });
    expect(packed.usage.prompt_tokens).toBeGreaterThan(10);
    expect(packed.data.map(({ embedding }) => embedding.length)).toEqual([256, 256, 256]);
    packed.data.forEach(({ embedding }, i) => embedding.forEach((value, at) => expect(value).toBeCloseTo(plain.data[i]!.embedding[at]!, 6)));
    const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
    const [a, b, c] = plain.data.map(({ embedding }) => embedding);
    expect(dot(a!, b!)).toBeGreaterThan(dot(a!, c!));
  });

  test("of more texts than one call takes keep their order", async () => {
    const input = Array.from({ length: 300 }, (_, i) => `text number ${i}`);
    const { data } = await client.embeddings.create({ model: "static-256", input, encoding_format: "float" });
    expect(data.map(({ index }) => index)).toEqual(input.map((_, i) => i));
    const [last] = (await client.embeddings.create({ model: "static-256", input: input.at(-1)!, encoding_format: "float" })).data;
    expect(data.at(-1)?.embedding).toEqual(last?.embedding);
  });

  test.each<[string, object, object]>([
    ["an unknown model", { model: "ada", input: "x" }, { status: 404, code: "model_not_found", param: "model" }],
    ["an empty text", { model: "static-256", input: ["x", ""] }, { status: 400, param: "input[1]" }],
    ["tokens", { model: "static-256", input: [1, 2] }, { status: 400, param: "input" }],
    ["other dimensions", { model: "static-256", input: "x", dimensions: 3 }, { status: 400, param: "dimensions" }],
  ])("refuse %s", async (_, body, expected) => {
    await expect(client.embeddings.create(body as never)).rejects.toMatchObject(expected);
  });
});
