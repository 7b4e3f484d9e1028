import type { Logger } from "../logger.js";

/** Says in the log when a receiver of spans cannot be reached, and when it can again: once each, not for every batch in between. */
export class ReceiverLog {
  readonly #logger: Logger;
  readonly #name: string;
  #failing = false;

  /** @param name begins the events: NAME_failed, NAME_reached */
  constructor(logger: Logger, name: string) {
    this.#logger = logger;
    this.#name = name;
  }

  reached(): void {
    if (this.#failing) this.#logger.info(`${this.#name}_reached`);
    this.#failing = false;
  }

  failed(fields: { reason: string; status?: number | undefined }): void {
    if (!this.#failing) this.#logger.warn(`${this.#name}_failed`, fields);
    this.#failing = true;
  }
}
