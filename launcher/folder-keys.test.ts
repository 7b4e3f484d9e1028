import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { processKeys } from "../runtime/identity/identity-keys.js";
import { meshSecurity } from "../runtime/mesh-security.js";
import { ManualClock } from "../tests/manual-clock.js";
import { folderKeys } from "./folder-keys.js";

test("a mesh that was started again reads the warrants of the one before, and its keys are its user's alone", () => {
  const folder = mkdtempSync(join(tmpdir(), "ragents-folder-keys-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const clock = new ManualClock();
  const start = (path: string) =>
    meshSecurity({
      process: { keys: processKeys(clock), warrantKeys: folderKeys(path, clock), tls: undefined, close: () => {} },
      service: "agent",
      clock,
      required: () => true,
    }).warrants;
  const warrant = start(folder).issue({ tenant: "acme", user: "ada" }, ["work"]);
  expect(start(folder).read(warrant, ["work"])).toMatchObject({ tenant: "acme", user: "ada" });
  expect(statSync(join(folder, "warrant-keys.json")).mode & 0o777).toBe(0o600);
  writeFileSync(join(folder, "warrant-keys.json"), "not keys");
  expect(() => start(folder)).toThrow(/warrant-keys\.json/);
});
