import { expect, test } from "vitest";
import { WriteQueue } from "./write-queue.js";

/** A queue that joins at most one upper-case put with others, and what it sent. */
function queueOf(answer: (puts: readonly string[]) => Promise<void> = async () => {}) {
  const sent: string[] = [];
  const queue = new WriteQueue<string>({
    send: (thread, puts) => {
      sent.push(`${thread}: ${puts.join(" ")}`);
      return answer(puts);
    },
    mayJoin: (puts, next) => next !== next.toUpperCase() || puts.every((put) => put !== put.toUpperCase()),
  });
  return { queue, sent };
}

test("what is put in one turn goes out together, thread by thread", async () => {
  const { queue, sent } = queueOf();
  await Promise.all([queue.put("1", "a"), queue.put("2", "x"), Promise.resolve().then(() => queue.put("1", "B"))]);
  await queue.put("1", "c");
  expect(sent).toEqual(["1: a B", "2: x", "1: c"]);
});

test("what may not join goes out after what came before, also when that failed", async () => {
  let finish = (): void => {};
  const { queue, sent } = queueOf((puts) => (puts.includes("A") ? new Promise((_, reject) => (finish = () => reject(new Error("no")))) : Promise.resolve()));
  const first = queue.put("1", "A");
  const second = queue.put("1", "B");
  const third = queue.put("1", "c");
  await expect.poll(() => sent).toEqual(["1: A"]);
  finish();
  await expect(first).rejects.toThrow("no");
  await Promise.all([second, third]);
  expect(sent).toEqual(["1: A", "1: B c"]);
});

test("all that went out together fail together", async () => {
  const { queue } = queueOf(() => Promise.reject(new Error("refused")));
  const puts = [queue.put("1", "a"), queue.put("1", "b")];
  for (const { status } of await Promise.allSettled(puts)) expect(status).toBe("rejected");
});
