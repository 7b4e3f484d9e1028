import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDataFolder } from "./data-folder.js";

const fresh = () => mkdtempSync(join(tmpdir(), "ragents-data-"));
/** The process that runs this test's process: alive, and not us. */
const parent = process.ppid;

describe("the data folder", () => {
  test("is made with its parents, locked, and free again after release", () => {
    const path = join(fresh(), "a", "b");
    const first = openDataFolder(path);
    expect(JSON.parse(readFileSync(join(path, "lock"), "utf8"))).toMatchObject({ pid: process.pid });
    first.release();
    openDataFolder(path).release();
  });

  test("is refused while another process that runs holds it, naming the process and the remedy", () => {
    const path = fresh();
    writeFileSync(join(path, "lock"), JSON.stringify({ pid: parent, started: "" }));
    expect(() => openDataFolder(path)).toThrow(new RegExp(`in use by another RAGents Mesh \\(process ${parent}\\).*RAGENTS_DATA_DIR`));
  });

  test.each([
    ["a process that has died", JSON.stringify({ pid: 2 ** 22 + 1, started: "1" })],
    ["a process whose pid was given to another", JSON.stringify({ pid: parent, started: "another time" })],
    ["a write that was cut off", '{"pid":'],
  ])("is taken over from %s", (_, content) => {
    const path = fresh();
    writeFileSync(join(path, "lock"), content);
    openDataFolder(path).release();
  });

  test.skipIf(process.getuid?.() === 0)("is refused when it cannot be written to", () => {
    const path = fresh();
    chmodSync(path, 0o500);
    expect(() => openDataFolder(path)).toThrow(/cannot be written to \(EACCES\).*RAGENTS_DATA_DIR/);
  });

  test.skipIf(process.platform !== "linux")("is refused where no folder can be made", () => {
    expect(() => openDataFolder("/proc/ragents")).toThrow(/cannot be written to \(ENOENT\).*RAGENTS_DATA_DIR/);
  });

  test("is refused when it is a file", () => {
    const path = join(fresh(), "file");
    writeFileSync(path, "");
    expect(() => openDataFolder(path)).toThrow(/cannot be written to \(EEXIST\)/);
  });
});
