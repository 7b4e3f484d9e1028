import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { rotateKeyFile } from "../runtime/identity/key-file.js";

/**
 * Makes the file of keys by which services know each other's word, or adds a key to it that takes over in five minutes.
 * The public half is for services that are called, but call none.
 */
export function rotateIdentityKeys(file: string, options: { public?: string }): void {
  const made = rotateKeyFile(existsSync(file) ? readFileSync(file, "utf8") : undefined, file, Date.now());
  // The public half first: a verifier must know a key before anybody signs with it.
  if (options.public !== undefined) replace(options.public, made.publicKeys, 0o644);
  replace(file, made.keys, 0o600);
  process.stdout.write(`${file} has a new key. Set RAGENTS_IDENTITY_KEYS to it for every service; they read it again by themselves.\n`);
}

/** Renamed into place: a reader sees the old file or the new one. */
function replace(file: string, text: string, mode: number): void {
  const next = `${file}.new`;
  writeFileSync(next, text, { mode });
  renameSync(next, file);
}
