import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type LogFields, type Logger, silentLogger } from "../../runtime/logger.js";
import { openReloadingFile } from "./reloading-file.js";

function parse(text: string): string {
  if (text.includes("wrong")) throw new Error("it is wrong");
  return text.toUpperCase();
}

test("a reloading file follows its text, and stays with the last good one", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ragents-file-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "limits");
  const errors: LogFields[] = [];
  const logger: Logger = { ...silentLogger, error: (_event, fields = {}) => void errors.push(fields) };

  await writeFile(path, "one");
  const file = await openReloadingFile(path, parse, logger);
  onTestFinished(() => file.close());
  expect(file.current()).toBe("ONE");

  await writeFile(path, "two");
  await file.reload();
  expect(file.current()).toBe("TWO");

  await writeFile(path, "wrong");
  await file.reload();
  await file.reload();
  expect(file.current()).toBe("TWO");
  expect(errors.map(({ err }) => String(err))).toEqual(["Error: it is wrong"]);

  await rm(path);
  await file.reload();
  expect(file.current()).toBe("TWO");

  await writeFile(path, "three");
  await file.reload();
  expect(file.current()).toBe("THREE");
});

test("a reloading file must be there at the start", async () => {
  await expect(openReloadingFile("/nowhere/limits", parse, silentLogger)).rejects.toThrow("cannot be read (ENOENT)");
});

test("a reloading file without a path is an empty text", async () => {
  expect((await openReloadingFile(undefined, (text) => [text], silentLogger)).current()).toEqual([""]);
});
