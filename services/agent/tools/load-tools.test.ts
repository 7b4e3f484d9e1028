import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadTools } from "./load-tools.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "ragents-tools-"));
});
afterEach(() => rm(folder, { recursive: true }));

const tool = (name: string, parameters = '{ type: "object" }') =>
  `export default { name: "${name}", description: "Does ${name}.", parameters: ${parameters}, run: async () => "${name}" };`;

describe("a folder of tools", () => {
  test("has one for each module, in the order of the files", async () => {
    await writeFile(join(folder, "b.mjs"), tool("first"));
    await writeFile(join(folder, "a.js"), tool("second"));
    await writeFile(join(folder, "notes.txt"), "no tool");
    expect((await loadTools(folder)).map(({ name }) => name)).toEqual(["second", "first"]);
  });

  test.each([
    { text: "export const x = 1;", says: "bad.mjs: " },
    { text: tool("has space"), says: "give letters, digits" },
    { text: tool("ok", '{ type: "string" }'), says: "give the JSON schema of an object" },
    { text: "export default {", says: "bad.mjs: " },
    { text: tool("good"), says: "another file has a tool good already" },
  ])("is refused for $says", async ({ text, says }) => {
    await writeFile(join(folder, "a.mjs"), tool("good"));
    await writeFile(join(folder, "bad.mjs"), text);
    await expect(loadTools(folder)).rejects.toMatchObject({ name: "ConfigError", message: expect.stringContaining(says) });
  });

  test("that is not there is refused", async () => {
    await expect(loadTools(join(folder, "none"))).rejects.toThrow(/RAGENTS_AGENT_TOOLS: the folder .* cannot be read/);
  });
});
