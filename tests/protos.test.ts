import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { packageRoot } from "../runtime/package-root.js";
import { copyCheckout } from "./support/checkout.js";
import { cleanEnv, runProgram } from "./support/program.js";

const buf = (args: string[], cwd = packageRoot) => {
  const bin = join(packageRoot, "node_modules", ".bin");
  const env = cleanEnv();
  return runProgram(join(bin, "buf"), args, { cwd, env: { ...env, PATH: `${bin}:${env["PATH"]}` } });
};

function contents(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (path: string) => {
    for (const name of readdirSync(path)) {
      const entry = join(path, name);
      if (statSync(entry).isDirectory()) walk(entry);
      else found.set(relative(folder, entry), readFileSync(entry, "latin1"));
    }
  };
  walk(folder);
  return found;
}

describe("the protos", () => {
  let checkout: string | undefined;
  afterAll(() => {
    if (checkout !== undefined) rmSync(join(checkout, ".."), { recursive: true, force: true });
  });

  test("pass buf's STANDARD and COMMENTS rules", async () => {
    expect(await buf(["lint"])).toMatchObject({ code: 0, stdout: "" });
  });

  test("are formatted", async () => {
    expect(await buf(["format", "--diff", "--exit-code", "proto"])).toMatchObject({ code: 0, stdout: "" });
  });

  test("are what the committed code was generated from", async () => {
    checkout = copyCheckout();
    const generated = await runProgram("npm", ["run", "--silent", "gen"], { cwd: checkout, env: cleanEnv() });
    expect(generated.code, generated.stderr).toBe(0);
    const fresh = contents(join(checkout, "gen"));
    const committed = contents(join(packageRoot, "gen"));
    expect([...committed.keys()].sort()).toEqual([...fresh.keys()].sort());
    for (const [file, text] of committed) expect(text === fresh.get(file), `gen/${file} is not what \`npm run gen\` makes`).toBe(true);
  }, 120_000);
});
