import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../runtime/package-root.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";

const run = promisify(execFile);

let mesh: TestMesh;
let folder: string;
let document: Record<string, unknown>;

beforeAll(async () => {
  mesh = await startTestMesh();
  document = (await mesh.rest("GET", "/openapi.json")).body;
  folder = await mkdtemp(join(tmpdir(), "ragents-openapi-"));
  await symlink(join(packageRoot, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
});
afterAll(async () => {
  await mesh?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("linters find nothing in the document", async () => {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lintFromString({ source: JSON.stringify(document), config });
  expect(problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} at ${location[0]?.pointer}`)).toEqual([]);
  const validated = await new Validator().validate(structuredClone(document));
  expect(validated.errors ?? []).toEqual([]);
});

/** A program written against the generated types: it compiles only while the document says what it relies on. */
const PROGRAM = `
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2]! });
const made = await client.POST("/v1/collections", { body: { id: "generated" } });
if (made.data === undefined) throw new Error(JSON.stringify(made.error));
const count: number | undefined = made.data.document_count;
const started = await client.POST("/v1/collections/{collection}/documents:ingest", {
  params: { path: { collection: "generated" } },
  body: { documents: [{ id: "notes/otter.md", text: "The otter eats eels." }] },
});
let job = started.data!;
for (let i = 0; i < 200 && job.state !== "SUCCEEDED"; i += 1) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  job = (await client.GET("/v1/jobs/{job}", { params: { path: { job: job.id! } } })).data!;
}
const document = await client.GET("/v1/collections/{collection}/documents/{document}", {
  params: { path: { collection: "generated", document: "notes/otter.md" } },
});
const asked = await client.POST("/query", { body: { query: "What does the otter eat?", config_overrides: { collection: "generated" } } });
const chat = await client.POST("/v1/chat/completions", {
  body: { model: "simple", messages: [{ role: "user", content: "What does the otter eat?" }], config_overrides: { collection: "generated" } },
});
const missing = await client.GET("/v1/threads/{thread}", { params: { path: { thread: "none" } } });
console.log(JSON.stringify({
  count,
  document: document.data?.id,
  response: asked.data?.response,
  chat: typeof chat.data === "object" ? chat.data.choices[0]?.message.content : chat.data,
  code: missing.error?.code,
}));
`;

/** openapi-typescript needs the JavaScript API of a compiler, which TypeScript 7 has no more: it gets an older one. */
function loaderOfTypescript(): string {
  const require = createRequire(import.meta.url);
  const api = createRequire(require.resolve("@bufbuild/protoplugin")).resolve("typescript");
  const hooks = `export const resolve = (name, context, next) => name === "typescript" ? { url: ${JSON.stringify(pathToFileURL(api).href)}, shortCircuit: true } : next(name, context);`;
  const register = `import { register } from "node:module"; register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));`;
  return `data:text/javascript,${encodeURIComponent(register)}`;
}

test("a client generated from the document compiles and works", async () => {
  await writeFile(join(folder, "openapi.json"), JSON.stringify(document));
  await writeFile(join(folder, "client.ts"), PROGRAM);
  const generate = `
    import openapiTS, { astToString } from "openapi-typescript";
    import { readFileSync, writeFileSync } from "node:fs";
    writeFileSync("schema.ts", astToString(await openapiTS(JSON.parse(readFileSync("openapi.json", "utf8")))));`;
  await writeFile(join(folder, "generate.mjs"), generate);
  await run(process.execPath, ["--import", loaderOfTypescript(), "generate.mjs"], { cwd: folder });
  const tsc = join(packageRoot, "node_modules", ".bin", "tsc");
  const flags = ["--noEmit", "--strict", "--target", "es2023", "--module", "nodenext", "--skipLibCheck", "--types", "node", "client.ts"];
  await run(tsc, flags, { cwd: folder }).catch((error: { stdout?: string }) => expect.fail(error.stdout));
  const { stdout } = await run(process.execPath, ["--import", "tsx", "client.ts", mesh.url], { cwd: folder });
  expect(JSON.parse(stdout)).toMatchObject({
    count: 0,
    document: "notes/otter.md",
    response: expect.stringContaining("eels"),
    chat: expect.stringContaining("eels"),
    code: 5,
  });
}, 60_000);
