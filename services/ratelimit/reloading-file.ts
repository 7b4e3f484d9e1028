import { readFile } from "node:fs/promises";
import { ConfigError } from "../../runtime/config.js";
import type { Logger } from "../../runtime/logger.js";

/** What a file says, read again when it changes. */
export interface ReloadingFile<T> {
  current(): T;
  /** Looks at the file now. A file that is missing or wrong is logged, and what was read before stays. */
  reload(): Promise<void>;
  close(): void;
}

/** How often the file is looked at, in milliseconds. Its text is compared: mounted files change by a renamed link. */
const LOOK_EVERY_MS = 2_000;

/**
 * Reads `path` and keeps what `parse` makes of it; without a path, of an empty text.
 * @throws ConfigError when the file cannot be read, and whatever `parse` throws
 */
export async function openReloadingFile<T>(
  path: string | undefined,
  parse: (text: string) => T,
  logger: Logger,
): Promise<ReloadingFile<T>> {
  if (path === undefined) {
    const value = parse("");
    return { current: () => value, reload: () => Promise.resolve(), close: () => {} };
  }
  let text = await read(path);
  let value = parse(text);

  async function reload(): Promise<void> {
    try {
      const next = await read(path!);
      if (next === text) return;
      // Remembered even when it is wrong, so that it is logged once.
      text = next;
      value = parse(next);
      logger.info("file_reloaded", { path });
    } catch (err) {
      logger.error("file_not_reloaded", { path, err });
    }
  }

  const looking = setInterval(() => void reload(), LOOK_EVERY_MS);
  looking.unref();
  return { current: () => value, reload, close: () => clearInterval(looking) };
}

function read(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`The file ${path} cannot be read (${error.code}).`);
  });
}
