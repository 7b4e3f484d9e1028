import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { startServiceProcess } from "../servers/service-process.js";
import { at, expectAll, failure, put, putUntilFailure } from "./acknowledged.js";

describe("the checkpoint service, as a process", () => {
  test("on its embedded database keeps what it acknowledged when it is killed, and lets no second one open it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ragents-checkpoint-"));
    const env = { RAGENTS_DATA_DIR: folder };
    const first = await startServiceProcess("checkpoint", env);
    const saver = new GrpcCheckpointSaver({ address: first.address });
    await expect(startServiceProcess("checkpoint", env)).rejects.toThrow("is in use by another RAGents Mesh");
    const writing = putUntilFailure(saver, 2);
    await expect.poll(async () => (await saver.listThreads({ pageSize: 1000 })).threads.length, { timeout: 30_000 }).toBeGreaterThan(10);
    await first.signal("SIGKILL");
    const { acknowledged } = await writing;
    saver.close();
    const second = await startServiceProcess("checkpoint", env);
    const again = new GrpcCheckpointSaver({ address: second.address });
    await expectAll(again, acknowledged);
    again.close();
    await second.stop();
    await rm(folder, { recursive: true });
  }, 180_000);

  test("told to stop lets a list under way end", async () => {
    const service = await startServiceProcess("checkpoint", { RAGENTS_CHECKPOINT_URL: "memory:", RAGENTS_CHECKPOINT_MAX_PER_THREAD: "0" });
    const saver = new GrpcCheckpointSaver({ address: service.address });
    for (let i = 0; i < 120; i += 1) await put(saver, "t", randomBytes(100_000));
    let seen = 0;
    for await (const _ of saver.list(at("t"))) {
      if (seen === 0) await service.signal("SIGTERM");
      seen += 1;
    }
    expect(seen).toBe(120);
    expect((await failure(put(saver, "t", 1))).code).toBe(Code.Unavailable);
    await service.ended;
    saver.close();
  }, 180_000);

  test("says what is wrong with its configuration, all of it", async () => {
    const starting = startServiceProcess("checkpoint", { RAGENTS_CHECKPOINT_URL: "mysql://x", RAGENTS_CHECKPOINT_TTL_S: "soon" });
    await expect(starting).rejects.toThrow(/RAGENTS_CHECKPOINT_URL: give pglite:FOLDER[^]*RAGENTS_CHECKPOINT_TTL_S: give a whole number/);
    const nowhere = startServiceProcess("checkpoint", { RAGENTS_CHECKPOINT_URL: "postgres://127.0.0.1:1/x" });
    await expect(nowhere).rejects.toThrow("cannot reach the database that RAGENTS_CHECKPOINT_URL names");
  }, 120_000);
});
