import type { MessagePort, Worker } from "node:worker_threads";

/** What the other side of a port may ask, by name. Arguments and answers are copied by the structured clone algorithm. */
export type PortHandlers = Record<string, (...args: never[]) => unknown>;

/** The same, from the side that asks. */
export type PortCalls<Handlers extends PortHandlers> = {
  readonly [Name in keyof Handlers]: (...args: Parameters<Handlers[Name]>) => Promise<Awaited<ReturnType<Handlers[Name]>>>;
};

type PortMessage =
  | { readonly call: number; readonly name: string; readonly args: unknown[] }
  | { readonly answerTo: number; readonly value: unknown }
  | { readonly answerTo: number; readonly error: unknown };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/**
 * Calls between two threads that answer each other, any number at once: returns what to ask the other side with, and
 * answers what it asks by `handlers`. A call rejects with what its handler threw, as a clone of it: a class of its own is lost.
 * `end` rejects what is still asked.
 */
export function portCalls<Theirs extends PortHandlers>(port: MessagePort | Worker, handlers: PortHandlers): { ask: PortCalls<Theirs>; end(error: unknown): void } {
  const waiting = new Map<number, Waiting>();
  let calls = 0;
  let ended: { error: unknown } | undefined;
  const answer = async (name: string, args: unknown[]) => (handlers[name] as ((...args: unknown[]) => unknown) | undefined)?.(...args);
  port.on("message", (message: PortMessage) => {
    if ("call" in message) {
      answer(message.name, message.args).then(
        (value) => port.postMessage({ answerTo: message.call, value } satisfies PortMessage),
        (error: unknown) => port.postMessage({ answerTo: message.call, error } satisfies PortMessage),
      );
      return;
    }
    const asked = waiting.get(message.answerTo);
    waiting.delete(message.answerTo);
    if ("error" in message) asked?.reject(message.error);
    else asked?.resolve(message.value);
  });
  const ask = new Proxy({} as PortCalls<Theirs>, {
    get: (_, name: string) => (...args: unknown[]) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended.error);
        calls += 1;
        waiting.set(calls, { resolve, reject });
        port.postMessage({ call: calls, name, args } satisfies PortMessage);
      }),
  });
  return {
    ask,
    end(error) {
      ended = { error };
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
    },
  };
}
