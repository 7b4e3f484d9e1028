import { Duplex } from "node:stream";
import type { Worker } from "node:worker_threads";
import type { PgliteReply } from "./pglite-thread.js";

/** The first byte of the message by which a client ends its session. */
const TERMINATE = 0x58;

/** The connection of a PostgreSQL client to the embedded server in a thread. The process may end while nothing is asked of it. */
export class PgliteSocket extends Duplex {
  /** Resolves when the database is open; rejects when it cannot be. */
  readonly opened: Promise<void>;
  /** Resolves when the thread has ended, and the database is closed with it. */
  readonly threadEnded: Promise<void>;
  readonly #thread: Worker;
  #written: ((error?: Error) => void) | undefined;

  constructor(thread: Worker) {
    super();
    this.#thread = thread;
    this.opened = new Promise((resolve, reject) => {
      thread.once("message", resolve);
      thread.once("error", reject);
      thread.once("exit", (code) => reject(new Error(`the thread of the embedded database ended with code ${code}`)));
    });
    this.threadEnded = new Promise((resolve) => void thread.once("exit", () => resolve()));
    this.opened.then(
      () => thread.unref(),
      () => {},
    );
    thread.on("message", (reply: PgliteReply) => {
      if (reply !== null) this.#take(reply);
    });
    thread.on("error", (error) => this.destroy(error));
    thread.on("exit", () => this.destroy());
  }

  /** As a client calls it that would open a connection. */
  connect(): this {
    setImmediate(() => this.emit("connect"));
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, written: (error?: Error) => void): void {
    this.#send(bytes, written);
  }

  /** What was written while the engine worked goes together: it is entered once for all messages of several statements. */
  override _writev(pieces: { chunk: Buffer }[], written: (error?: Error) => void): void {
    this.#send(Buffer.concat(pieces.map(({ chunk }) => chunk)), written);
  }

  #send(bytes: Buffer, written: (error?: Error) => void): void {
    this.#thread.ref();
    this.#written = written;
    if (bytes[0] === TERMINATE) return this.#thread.postMessage(null);
    // A view on a larger buffer would be handed over with all of that.
    const own = new Uint8Array(bytes);
    this.#thread.postMessage(own, [own.buffer]);
  }

  #take(reply: Uint8Array<ArrayBuffer>): void {
    this.#thread.unref();
    const written = this.#written;
    this.#written = undefined;
    if (reply.length > 0) this.push(Buffer.from(reply.buffer));
    written?.();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#written?.();
    void this.#thread.terminate();
    done(error);
  }
}
