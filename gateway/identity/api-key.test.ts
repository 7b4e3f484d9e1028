import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { hashSecret, keyIdOf, newApiKey } from "./api-key.js";

test("a key is its id and 43 letters and digits, 256 bits, and no two are alike", () => {
  const keys = Array.from({ length: 500 }, newApiKey);
  for (const { id, secret } of keys) {
    expect(id).toMatch(/^ragents_[A-Za-z0-9]{12}$/);
    expect(secret).toMatch(/^ragents_[A-Za-z0-9]{12}_[A-Za-z0-9]{43}$/);
    expect(keyIdOf(secret)).toBe(id);
  }
  expect(new Set(keys.map(({ id }) => id)).size).toBe(500);
  // Every letter and digit turns up: 500 x 43 draws of 62 miss one with a chance of e^-346.
  expect(new Set(keys.flatMap(({ secret }) => [...secret.slice(21)])).size).toBe(62);
});

test("its hash is the SHA-256 of all of it", () => {
  const { secret, hash } = newApiKey();
  expect(hash).toEqual(createHash("sha256").update(secret).digest());
  expect(hashSecret(secret)).toEqual(hash);
});

const { secret } = newApiKey();

test.each([
  ["nothing", ""],
  ["an id alone", secret.slice(0, 20)],
  ["a secret that was cut off", secret.slice(0, -1)],
  ["a secret with more behind it", `${secret}a`],
  ["another service's key", "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
  ["a line break", `${secret}\n`],
])("%s is no key", (_, text) => {
  expect(keyIdOf(text)).toBeUndefined();
});
