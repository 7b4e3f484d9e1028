import { setTimeout as delay } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { portCalls } from "./port-calls.js";

const there = {
  double: async (n: number, waitMs: number) => {
    await delay(waitMs);
    return 2 * n;
  },
  fail: (text: string): never => {
    throw new RangeError(text);
  },
  forever: () => new Promise<string>(() => {}),
};
type There = typeof there;

function connected() {
  const { port1, port2 } = new MessageChannel();
  onTestFinished(() => port1.close());
  portCalls(port2, there);
  return portCalls<There>(port1, {});
}

test("answers any number of calls at once, each with its own answer", async () => {
  const { ask } = connected();
  expect(await Promise.all([ask.double(1, 20), ask.double(2, 0), ask.double(3, 10)])).toEqual([2, 4, 6]);
});

test("rejects with what the other side threw, and goes on", async () => {
  const { ask } = connected();
  await expect(ask.fail("too far")).rejects.toThrow(new RangeError("too far"));
  expect(await ask.double(4, 0)).toBe(8);
});

test("rejects what was asked, and what is asked later, once the other side is gone", async () => {
  const { ask, end } = connected();
  const waiting = ask.forever();
  end(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  await expect(ask.double(1, 0)).rejects.toThrow("gone");
});
