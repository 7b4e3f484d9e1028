import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../runtime/clock.js";
import { storedKeys, type IdentityKeys } from "../runtime/identity/identity-keys.js";
import { parseKeyFile, rotateKeyFile } from "../runtime/identity/key-file.js";

/** Keys of a data folder, made when it has none: for what must hold beyond the process's end. Throws ConfigError when the file is damaged. */
export function folderKeys(folder: string, clock: Clock): IdentityKeys {
  const path = join(folder, "warrant-keys.json");
  if (!existsSync(path)) writeFileSync(path, rotateKeyFile(undefined, path, clock.now()).keys, { mode: 0o600 });
  const keys = parseKeyFile(readFileSync(path, "utf8"), path);
  return storedKeys(() => keys, clock);
}
