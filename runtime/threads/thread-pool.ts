import type { Transferable, Worker } from "node:worker_threads";

/** A thread ended before it had answered, by a fault of its own or for want of memory. */
export class ThreadEndedError extends Error {
  override name = "ThreadEndedError";
  readonly outOfMemory: boolean;

  constructor(cause: unknown) {
    super("a thread ended before it had answered", { cause });
    this.outOfMemory = (cause as NodeJS.ErrnoException | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
  }
}

/** What a thread answers to one request. */
export type ThreadAnswer<T> = { readonly value: T } | { readonly error: unknown };

interface Task<Request, Response> {
  readonly request: Request;
  readonly transfer: readonly Transferable[];
  resolve(response: Response): void;
  reject(error: unknown): void;
}

export interface ThreadPoolOptions {
  /**
   * A thread is ended only between requests, after the answer that nobody waits for: native code that is ended amid its work takes
   * the process with it. Default: it is ended at once.
   */
  readonly endsBetweenRequests?: boolean;
}

/**
 * A few threads of one kind, started when there is work for them. A thread answers one request at a time, in the form of
 * serveThread. What nobody waits for any more is not begun; what has begun ends with its thread.
 */
export class ThreadPool<Request, Response> {
  readonly #start: () => Worker;
  readonly #size: number;
  readonly #endsBetweenRequests: boolean;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Task<Request, Response>>();
  readonly #waiting: Task<Request, Response>[] = [];
  #closed = false;

  /** @param size most threads at once. */
  constructor(start: () => Worker, size: number, { endsBetweenRequests = false }: ThreadPoolOptions = {}) {
    this.#start = start;
    this.#size = size;
    this.#endsBetweenRequests = endsBetweenRequests;
  }

  /**
   * The answer of a thread to a request; `transfer` names its buffers that the thread takes over. Rejects with what the thread threw,
   * with ThreadEndedError when it died, and with the signal's reason.
   */
  async run(request: Request, signal?: AbortSignal, transfer: readonly Transferable[] = []): Promise<Response> {
    signal?.throwIfAborted();
    if (this.#closed) throw new Error("the threads have been stopped");
    let stop = () => {};
    try {
      return await new Promise<Response>((resolve, reject) => {
        const task = { request, transfer, resolve, reject };
        stop = () => this.#drop(task, signal?.reason);
        signal?.addEventListener("abort", stop, { once: true });
        this.#waiting.push(task);
        this.#next();
      });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends all threads; what they work on rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new Error("the threads have been stopped");
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    const busy = [...this.#busy.keys()];
    for (const { reject } of this.#busy.values()) reject(error);
    this.#busy.clear();
    const ended = this.#idle.splice(0).map((thread) => thread.terminate());
    for (const thread of busy) ended.push((this.#endsBetweenRequests ? untilAnswered(thread) : Promise.resolve()).then(() => thread.terminate()));
    await Promise.all(ended);
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#idle.pop() ?? (this.#busy.size < this.#size ? this.#open() : undefined);
      if (thread === undefined) return;
      const task = this.#waiting.shift()!;
      this.#busy.set(thread, task);
      thread.ref();
      thread.postMessage(task.request, [...task.transfer]);
    }
  }

  #open(): Worker {
    const thread = this.#start();
    thread.on("message", (answer: ThreadAnswer<Response>) => {
      const task = this.#busy.get(thread);
      // Its task was given up, and the thread with it.
      if (task === undefined) return;
      this.#busy.delete(thread);
      this.#idle.push(thread);
      // A thread without work does not keep the process alive.
      thread.unref();
      if ("value" in answer) task.resolve(answer.value);
      else task.reject(answer.error);
      this.#next();
    });
    thread.on("error", (error) => this.#lose(thread, error));
    thread.on("exit", () => this.#lose(thread, undefined));
    return thread;
  }

  #lose(thread: Worker, cause: unknown): void {
    const task = this.#busy.get(thread);
    this.#busy.delete(thread);
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
    task?.reject(new ThreadEndedError(cause));
    this.#next();
  }

  #drop(task: Task<Request, Response>, reason: unknown): void {
    const at = this.#waiting.indexOf(task);
    if (at >= 0) this.#waiting.splice(at, 1);
    for (const [thread, running] of this.#busy) {
      if (running !== task) continue;
      if (this.#endsBetweenRequests) {
        this.#busy.set(thread, { ...task, resolve() {}, reject() {} });
        continue;
      }
      this.#busy.delete(thread);
      void thread.terminate();
    }
    task.reject(reason);
    this.#next();
  }
}

/** Resolves with a thread's next answer, or when it is no more. */
function untilAnswered(thread: Worker): Promise<void> {
  return new Promise((resolve) => {
    thread.once("message", () => resolve());
    thread.once("exit", () => resolve());
  });
}
