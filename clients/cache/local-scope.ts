import { toBuffer } from "../../runtime/grpc-metadata.js";
import { ENTRY_OVERHEAD_BYTES, type LocalEntry, type LocalMemory } from "./local-memory.js";

/** The entries of one scope in this process's memory. */
export class LocalScope {
  readonly #memory: LocalMemory;
  readonly #byText = new Map<string, LocalEntry>();
  readonly #byHash = new Map<string, LocalEntry>();
  #version = 0;

  constructor(memory: LocalMemory) {
    this.#memory = memory;
  }

  /** Moves whenever something here became stale: what was asked for before must not be kept after. */
  get version(): number {
    return this.#version;
  }

  /** The value, by the promise that resolves to it. */
  get(text: string, now: number): Promise<Uint8Array> | undefined {
    const entry = this.#byText.get(text);
    if (entry === undefined) return undefined;
    if (entry.expiresAt <= now) {
      this.#memory.remove(entry);
      return undefined;
    }
    entry.used = true;
    return entry.answer;
  }

  /** Keeps a value that was asked for at `version`, unless that has moved. */
  keep(text: string, hash: Uint8Array, value: Uint8Array, expiresAt: number, version: number): void {
    const size = value.length + 2 * text.length + ENTRY_OVERHEAD_BYTES;
    if (version !== this.#version || !this.#memory.fits(size)) return;
    const name = hashName(hash);
    const older = this.#byHash.get(name);
    if (older !== undefined) this.#memory.remove(older);
    // A copy: the value is a part of a message whose other parts would live on with it.
    const answer = Promise.resolve(Uint8Array.from(value));
    const forget = () => {
      this.#byText.delete(text);
      this.#byHash.delete(name);
    };
    const entry: LocalEntry = { answer, size, expiresAt, used: false, forget };
    this.#byText.set(text, entry);
    this.#byHash.set(name, entry);
    this.#memory.add(entry);
  }

  /** Forgets the entries of these hashes. */
  drop(hashes: readonly Uint8Array[]): void {
    this.#version += 1;
    for (const hash of hashes) {
      const entry = this.#byHash.get(hashName(hash));
      if (entry !== undefined) this.#memory.remove(entry);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#version += 1;
    for (const entry of this.#byText.values()) this.#memory.remove(entry);
  }
}

function hashName(hash: Uint8Array): string {
  return toBuffer(hash).toString("latin1");
}
