import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { ConfigOverridesSchema } from "../../gen/ragents/agent/v1/agent_pb.js";
import { modelsOf } from "../../runtime/llm/models.js";
import { BUILT_IN_PROMPTS, PROMPT_NAMES } from "../../runtime/llm/prompts.js";
import { packageRoot } from "../../runtime/package-root.js";
import { agentVersion, AgentVersions } from "./agent-versions.js";
import { AGENT_KINDS } from "./agents/kinds.js";
import { simpleAgent } from "./agents/simple.js";
import { loadVersions } from "./versions-file.js";

const versionsOf = (...weights: number[]) =>
  new AgentVersions(weights.map((weight, i) => agentVersion(simpleAgent, { weight, settings: create(ConfigOverridesSchema, { topK: i + 1 }) })));
const shares = (versions: AgentVersions) => {
  const counts = new Map(versions.all.map(({ version }) => [version, 0]));
  for (let i = 0; i < 2_000; i += 1) {
    const { version } = versions.chosenFor("simple", ["acme", `user-${i}`]);
    counts.set(version, (counts.get(version) ?? 0) + 1 / 2_000);
  }
  return [...counts.values()];
};

test("versions serve by weight, one user always by the same, and one without a weight nobody who does not name it", () => {
  const [first = 0, second = 0, none] = shares(versionsOf(3, 1, 0));
  expect(first).toBeCloseTo(0.75, 1);
  expect(second).toBeCloseTo(0.25, 1);
  expect(none).toBe(0);
  const [a, b] = [versionsOf(3, 1), versionsOf(3, 1)];
  for (const user of ["ada", "bob", "eve"]) expect(a.chosenFor("simple", ["t", user]).version).toBe(b.chosenFor("simple", ["t", user]).version);
});

test("a prompt's version is the hash of its file, and a version of an agent changes with its prompts and settings alone", async () => {
  for (const name of PROMPT_NAMES) {
    const hash = createHash("sha256").update(await readFile(join(packageRoot, "prompts", `${name}.txt`))).digest("hex");
    expect(BUILT_IN_PROMPTS[name].id).toBe(`${name}@${hash.slice(0, 8)}`);
  }
  const version = (...[options]: Parameters<typeof agentVersion> extends [unknown, ...infer Rest] ? Rest : never) => agentVersion(simpleAgent, options).version;
  expect(version()).toBe(version({ weight: 7 }));
  expect(version()).toMatch(/^[0-9a-f]{8}$/);
  expect(version({ prompts: { answer: { id: "answer@00000000", text: "Rhyme." } } })).not.toBe(version());
  expect(version({ prompts: { react: { id: "react@00000000", text: "Of another agent." } } })).toBe(version());
  expect(version({ settings: create(ConfigOverridesSchema, { topK: 3 }) })).not.toBe(version());
});

test.each([
  { file: "simple: []", says: /simple\s*$|at least one version/ },
  { file: "simpel: [{weight: 1}]", says: /no agent simpel; known: langgraph, logical, react, simple/ },
  { file: "simple: [{weight: -1}]", says: /0 or more/ },
  { file: "simple: [{weight: 0}]", says: /weight above 0/ },
  { file: "simple: [{weight: 1}, {weight: 2}]", says: /is there twice/ },
  { file: "simple: [{weight: 1, prompts: {reason: prompt.txt}}]", says: /no prompt reason; known: .*answer/ },
  { file: "simple: [{weight: 1, prompts: {answer: missing.txt}}]", says: /simple\[0\]\.prompts\.answer: missing\.txt.*ENOENT/ },
  { file: "simple: [{weight: 1, prompts: {answer: empty.txt}}]", says: /must say something/ },
  { file: "simple: [{weight: 1, settings: {top_k: 101}}]", says: /simple\[0\]\.settings.*top_k/ },
  { file: "simple: [{weight: 1, settings: {model: gpt-9}}]", says: /no model "gpt-9"; known: extractive/ },
  { file: "simple: [{weight: 1, settings: {agent_config: {}}}]", says: /takes none/ },
  { file: "simple: [{weight: 1, colour: red}]", says: /colour/ },
  { file: "simple: [", says: /cannot be read/ },
])("a file of versions that says $file is refused", async ({ file, says }) => {
  const folder = await mkdtemp(join(tmpdir(), "ragents-versions-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "empty.txt"), " \n");
  await writeFile(join(folder, "versions.yaml"), file);
  await expect(loadVersions(join(folder, "versions.yaml"), AGENT_KINDS, modelsOf([]))).rejects.toThrow(says);
});

test("a model can be asked for in its version, and in no other", () => {
  const models = modelsOf([{ name: "claude@2026" } as never, { name: "gpt" } as never], { versions: new Map([["gpt", "1234abcd"]]) });
  expect([models.nameOf(), models.nameOf("claude@2026"), models.nameOf("gpt@1234abcd")]).toEqual(["claude@2026", "claude@2026", "gpt"]);
  expect(() => models.nameOf("gpt@00000000")).toThrow(/known: claude@2026@[0-9a-f]{8}, gpt@1234abcd, extractive@[0-9a-f]{8}/);
});
