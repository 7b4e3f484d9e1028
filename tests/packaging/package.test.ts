import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../runtime/package-root.js";
import { freePort } from "../servers/free-port.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "../servers/server-process.js";
import { cleanEnv, runProgram } from "../support/program.js";

const CONSUMER = join(dirname(fileURLToPath(import.meta.url)), "consumer");

const { name, version, dependencies } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
  name: string;
  version: string;
  dependencies: Record<string, string>;
};

/** A folder of another program: the package that npm packs, unpacked, beside what it depends on and no more. */
let program: string;
let packed: string;

async function run(command: string, args: string[], cwd: string, variables: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await runProgram(command, args, { cwd, env: cleanEnv(variables) });
  expect(code, `${command} ${args.join(" ")}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

const node = (...args: string[]) => run(process.execPath, args, program);
const compile = (...args: string[]) => node(join(packageRoot, "node_modules", "typescript", "bin", "tsc"), ...args);

beforeAll(async () => {
  program = mkdtempSync(join(tmpdir(), "ragents-consumer-"));
  packed = join(program, "node_modules", name);
  mkdirSync(packed, { recursive: true });
  await run(process.execPath, ["scripts/setup.mjs"], packageRoot);
  await run("npm", ["pack", "--pack-destination", program], packageRoot);
  await run("tar", ["-xzf", join(program, `${name}-${version}.tgz`), "-C", packed, "--strip-components", "1"], program);
  for (const dependency of [...Object.keys(dependencies), "@types/node"]) {
    const link = join(program, "node_modules", dependency);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(packageRoot, "node_modules", dependency), link);
  }
  cpSync(CONSUMER, program, { recursive: true });
}, 240_000);
afterAll(() => rmSync(program, { recursive: true, force: true }));

test("the package holds the built program and what it needs, and nothing else", () => {
  expect(readdirSync(packed).sort()).toEqual(["LICENSE", "README.md", "cli", "clients", "dist", "gateway", "models", "package.json", "prompts", "proto", "third_party"]);
  const files = readdirSync(packed, { recursive: true, encoding: "utf8" });
  expect(files.filter((file) => /^(clients|gateway)\/.+\./.test(file)).sort()).toEqual([
    ...["clients/python/README.md", "clients/python/ask.py"],
    ...["kustomization.yaml", "envoy.yaml", "limits.yaml", "tls.yaml"].map((name) => `gateway/envoy/${name}`).sort(),
  ]);
  expect(files.filter((file) => /\.(test|suite)\.|\.map$|(?<!\.d)\.ts$/.test(file))).toEqual([]);
});

test("a program outside the repository compiles against its types and runs its clients", async () => {
  await compile("--skipLibCheck", "--outDir", "out");
  expect(JSON.parse(await node("out/clients.js"))).toEqual({
    value: "made",
    allowed: true,
    service: "ragents.checkpoint.v1.CheckpointService",
    others: ["function", "function", "function"],
  });
  // Dependencies may be careless with their types; ours are checked, whatever of them a program's compiler looks at.
  const checked = await runProgram(process.execPath, [join(packageRoot, "node_modules", "typescript", "bin", "tsc"), "--noEmit"], {
    cwd: program,
    env: cleanEnv(),
  });
  expect(checked.stdout.split("\n").filter((line) => line.includes(`node_modules/${name}/`))).toEqual([]);
});

test("a LangGraph program keeps its conversation in the service of the package, from one process to the next", async () => {
  await compile("--skipLibCheck", "--outDir", "out");
  const service = await startPackedService("checkpoint");
  try {
    const say = async (text: string) => JSON.parse(await node("out/conversation.js", service.address, "a thread", text)) as unknown;
    expect(await say("hello")).toEqual({
      said: [
        ["HumanMessage", "hello"],
        ["AIMessage", "You said 1 things."],
      ],
      checkpoints: 3,
    });
    expect(await say("again")).toEqual({
      said: [
        ["HumanMessage", "hello"],
        ["AIMessage", "You said 1 things."],
        ["HumanMessage", "again"],
        ["AIMessage", "You said 3 things."],
      ],
      checkpoints: 6,
    });
  } finally {
    await endServerProcess(service.process);
  }
});

test("the package brings the command", async () => {
  expect((await node(join(packed, "cli", "ragents.mjs"), "--version")).trim()).toBe(version);
});

async function startPackedService(service: string): Promise<{ address: string; process: ServerProcess }> {
  const [port, probePort] = [await freePort(), await freePort()];
  const started = startServerProcess(process.execPath, [join(packed, "dist", "services", service, "main.js")], {
    cwd: program,
    env: cleanEnv({
      [`RAGENTS_${service.toUpperCase()}_URL`]: "memory:",
      [`RAGENTS_${service.toUpperCase()}_PORT`]: String(port),
      RAGENTS_METRICS_PORT: String(probePort),
    }),
  });
  await untilReady(started, async () => (await fetch(`http://127.0.0.1:${probePort}/readyz`)).ok);
  return { address: `127.0.0.1:${port}`, process: started };
}
