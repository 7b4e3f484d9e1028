import type { Clock } from "../runtime/clock.js";
import { processKeys, type StoredKey } from "../runtime/identity/identity-keys.js";
import type { Logger } from "../runtime/logger.js";
import { openProcessSecurity, type ProcessSecurity } from "../runtime/mesh-security.js";
import { folderKeys } from "./folder-keys.js";

/**
 * What the variables name; without keys among that, the services of a process know each other's word by a key that nobody
 * else has, and warrants hold as long as the data folder. Throws ConfigError.
 */
export async function openLocalSecurity(
  env: NodeJS.ProcessEnv,
  host: { logger: Logger; clock: Clock },
  own: { key: StoredKey; folder: string },
): Promise<ProcessSecurity> {
  const configured = await openProcessSecurity(env, host);
  if (configured.keys !== undefined) return configured;
  return { ...configured, keys: processKeys(host.clock, own.key), warrantKeys: folderKeys(own.folder, host.clock) };
}
