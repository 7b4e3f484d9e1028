import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type LogFields, type Logger, silentLogger } from "./logger.js";
import { openReloadingFiles } from "./reloading-files.js";

function parse(contents: Buffer[]): string {
  const text = contents.map(String).join("+");
  if (text.includes("wrong")) throw new Error("it is wrong");
  return text;
}

test("reloading files follow their contents, and stay with the last good ones", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ragents-files-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const paths = [join(folder, "a"), join(folder, "b")] as const;
  const errors: LogFields[] = [];
  const logger: Logger = { ...silentLogger, error: (_event, fields = {}) => void errors.push(fields) };
  const changes: string[] = [];

  for (const path of paths) await writeFile(path, "1");
  const files = await openReloadingFiles(paths, parse, { logger, onChange: (value) => changes.push(value) });
  onTestFinished(() => files.close());
  expect(files.current()).toBe("1+1");
  await files.reload();
  expect(changes).toEqual([]);

  await writeFile(paths[1], "2");
  await files.reload();
  expect(files.current()).toBe("1+2");

  await writeFile(paths[0], "wrong");
  await files.reload();
  await files.reload();
  expect(files.current()).toBe("1+2");
  expect(errors.map(({ err }) => String(err))).toEqual(["Error: it is wrong"]);

  await rm(paths[0]);
  await files.reload();
  expect(files.current()).toBe("1+2");

  await writeFile(paths[0], "3");
  await files.reload();
  expect(files.current()).toBe("3+2");
  expect(changes).toEqual(["1+2", "3+2"]);
});

test("reloading files must be there at the start", async () => {
  await expect(openReloadingFiles(["/nowhere/file"], parse, { logger: silentLogger })).rejects.toThrow("/nowhere/file cannot be read (ENOENT)");
});
