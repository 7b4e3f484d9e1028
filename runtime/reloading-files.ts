import { readFile } from "node:fs/promises";
import { ConfigError } from "./config.js";
import type { Logger } from "./logger.js";

/** What some files say together, read again when one of them changes. */
export interface ReloadingFiles<T> {
  current(): T;
  /** Looks at the files now. When one is missing or they are wrong that is logged, and what was read before stays. */
  reload(): Promise<void>;
  close(): void;
}

/** How often the files are looked at, in milliseconds. Their contents are compared: mounted files change by a renamed link. */
const LOOK_EVERY_MS = 5_000;

/**
 * Reads `paths` and keeps what `parse` makes of their contents, in the order of the paths.
 * @throws ConfigError when a file cannot be read, and whatever `parse` throws
 */
export async function openReloadingFiles<T>(
  paths: readonly string[],
  parse: (contents: Buffer[]) => T,
  options: { logger: Logger; onChange?: (value: T) => void },
): Promise<ReloadingFiles<T>> {
  let contents = await readAll(paths);
  let value = parse(contents);

  async function reload(): Promise<void> {
    try {
      const next = await readAll(paths);
      if (next.every((content, i) => content.equals(contents[i]!))) return;
      // Remembered even when they are wrong, so that it is logged once.
      contents = next;
      value = parse(next);
      options.logger.info("files_reloaded", { paths });
      options.onChange?.(value);
    } catch (err) {
      options.logger.error("files_not_reloaded", { paths, err });
    }
  }

  const looking = setInterval(() => void reload(), LOOK_EVERY_MS);
  looking.unref();
  return { current: () => value, reload, close: () => clearInterval(looking) };
}

function readAll(paths: readonly string[]): Promise<Buffer[]> {
  return Promise.all(
    paths.map((path) =>
      readFile(path).catch((error: NodeJS.ErrnoException) => {
        throw new ConfigError(`The file ${path} cannot be read (${error.code}).`);
      }),
    ),
  );
}
