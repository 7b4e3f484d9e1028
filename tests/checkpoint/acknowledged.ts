import { ConnectError } from "@connectrpc/connect";
import { type Checkpoint, emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { expect } from "vitest";
import type { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";

/** The newest checkpoint of a thread. */
export const at = (thread: string) => ({ configurable: { thread_id: thread, checkpoint_ns: "" } });
const checkpoint = (v: unknown): Checkpoint => ({ ...emptyCheckpoint(), id: uuid6(1), channel_values: { v }, channel_versions: { v: 1 } });
/** Puts a checkpoint whose only channel has the value `v`. */
export const put = (saver: GrpcCheckpointSaver, thread: string, v: unknown) =>
  saver.put(at(thread), checkpoint(v), { source: "loop", step: 1, parents: {} }, { v: 1 });
/** What the thread's newest checkpoint has of `put`'s channel. */
export const valueOf = async (saver: GrpcCheckpointSaver, thread: string) => (await saver.getTuple(at(thread)))?.checkpoint.channel_values.v;
/** What the work was refused with. */
export const failure = (work: Promise<unknown>): Promise<ConnectError> =>
  work.then(() => expect.fail("it succeeded"), (error: unknown) => ConnectError.from(error));

/** Puts one thread after the other until the first put fails; answers the acknowledged ones and how the last one failed. */
export async function putUntilFailure(saver: GrpcCheckpointSaver, writers: number): Promise<{ acknowledged: string[]; errors: ConnectError[] }> {
  const acknowledged: string[] = [];
  const errors = await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let i = 0; ; i += 1) {
        const thread = `${writer}-${i}`;
        try {
          await put(saver, thread, `value of ${thread} `.repeat(100));
          acknowledged.push(thread);
        } catch (error) {
          return ConnectError.from(error);
        }
      }
    }),
  );
  return { acknowledged, errors };
}

/** That all of `putUntilFailure`'s acknowledged threads can be read. */
export async function expectAll(saver: GrpcCheckpointSaver, threads: readonly string[]): Promise<void> {
  for (const thread of threads) expect(await valueOf(saver, thread)).toBe(`value of ${thread} `.repeat(100));
}
