import { Code } from "@connectrpc/connect";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { parseEnv } from "../config.js";
import { hasCode, reasonOf } from "../errors.js";
import { modelsConfigSchema, openModels } from "./models.js";

const open = (env: NodeJS.ProcessEnv) => openModels(parseEnv(env, modelsConfigSchema), { registry: new Registry() });

describe("the models of an environment", () => {
  test.each([
    { env: {}, names: ["extractive"] },
    { env: { OPENAI_API_KEY: "k" }, names: ["gpt-4.1-mini", "extractive"] },
    { env: { OPENAI_BASE_URL: "http://127.0.0.1:11434/v1", OPENAI_MODEL: "qwen" }, names: ["qwen", "extractive"] },
    { env: { ANTHROPIC_API_KEY: "k", ANTHROPIC_MODEL: "claude-x" }, names: ["claude-x", "extractive"] },
    { env: { ANTHROPIC_API_KEY: "k", OPENAI_API_KEY: "k" }, names: ["gpt-4.1-mini", "claude-sonnet-4-5", "extractive"] },
  ])("$env are $names", ({ env, names }) => {
    const models = open(env);
    expect(models.names).toEqual(names);
    expect(models.answerer().model).toBe(names[0]);
    expect(models.answerer("extractive").model).toBe("extractive");
    expect(models.languageModel("extractive")).toBeUndefined();
  });

  test("refuse a name that is none of them, naming all", () => {
    const ask = () => open({ OPENAI_API_KEY: "k" }).answerer("gpt-9");
    expect(ask).toThrow('There is no model "gpt-9"; known: gpt-4.1-mini, extractive.');
    const error = (() => { try { ask(); } catch (thrown) { return thrown; } })();
    expect([hasCode(error, Code.InvalidArgument), reasonOf(error)]).toEqual([true, "UNKNOWN_MODEL"]);
  });

  test("refuse a stand-in that is none of them", () => {
    expect(() => open({ OPENAI_API_KEY: "k", RAGENTS_LLM_FALLBACK: "gpt-9, extractive" })).toThrow(
      "RAGENTS_LLM_FALLBACK: gpt-9: not configured; known: gpt-4.1-mini, extractive",
    );
  });

  test("refuse an address that is none", () => {
    expect(() => open({ OPENAI_BASE_URL: "localhost:11434" })).toThrow("OPENAI_BASE_URL: give an http:// or https:// URL");
  });
});
