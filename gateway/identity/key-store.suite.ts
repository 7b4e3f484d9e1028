import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import type { SqlDatabase } from "../../runtime/sql/database.js";
import { newApiKey } from "./api-key.js";
import type { KeyStore, StoredKey } from "./key-store.js";
import { openSqlKeyStore } from "./key-store-sql.js";

const created = new Date("2026-01-01T00:00:00.123Z");

function keyOf(fields: Partial<StoredKey> = {}): { key: StoredKey; secretHash: Buffer } {
  const { id, hash } = newApiKey();
  const key: StoredKey = {
    id,
    displayName: "ci",
    tenant: "acme",
    user: "alice",
    roles: [Role.READER, Role.WRITER],
    tier: "gold",
    created,
    expires: undefined,
    revoked: undefined,
    lastUsed: undefined,
    ...fields,
  };
  return { key, secretHash: hash };
}

/** What every store of API keys promises. */
export function describeKeyStore(name: string, open: () => Promise<SqlDatabase>): void {
  describe(name, () => {
    let db: SqlDatabase;
    let store: KeyStore;
    const add = async (fields: Partial<StoredKey> = {}) => {
      const made = keyOf(fields);
      await store.add(made.key, made.secretHash, undefined);
      return made;
    };

    beforeAll(async () => {
      db = await open();
      store = await openSqlKeyStore(db);
    });
    beforeEach(() => db.query("truncate gateway.api_keys"));
    afterAll(() => store.close());

    test("finds a key as it was added", async () => {
      const made = await add({ expires: new Date("2027-01-01T00:00:00Z") });
      expect(await store.find(made.key.id)).toEqual(made);
      expect(await store.find("ragents_aaaaaaaaaaaa")).toBeUndefined();
    });

    test("keeps an empty user, tier and name", async () => {
      const made = await add({ user: "", tier: "", displayName: "" });
      expect((await store.find(made.key.id))?.key).toEqual(made.key);
    });

    test("tells whether there ever was a key, also when it was revoked", async () => {
      expect(await store.isEmpty()).toBe(true);
      const { key } = await add();
      await store.revoke(key.id, undefined, created);
      expect(await store.isEmpty()).toBe(false);
    });

    test("adds a key once by its tenant's idempotency key", async () => {
      const [first, second, other, third] = [keyOf(), keyOf(), keyOf({ tenant: "globex" }), keyOf()];
      expect(await store.add(first.key, first.secretHash, "request-1")).toBeUndefined();
      expect(await store.add(second.key, second.secretHash, "request-1")).toBe(first.key.id);
      expect(await store.find(second.key.id)).toBeUndefined();
      expect(await store.add(other.key, other.secretHash, "request-1")).toBeUndefined();
      expect(await store.add(third.key, third.secretHash, "request-2")).toBeUndefined();
    });

    test("lists a tenant's keys, newest first, page by page", async () => {
      const times = [3, 1, 2, 2];
      const ids = await Promise.all(times.map(async (n) => (await add({ created: new Date(created.getTime() + n) })).key.id));
      await add({ tenant: "globex" });
      const [a, b] = [ids[2]!, ids[3]!].sort().reverse() as [string, string];
      const first = await store.list("acme", { limit: 2 });
      expect(first.map(({ id }) => id)).toEqual([ids[0], a]);
      const last = first[1]!;
      const rest = await store.list("acme", { limit: 10, after: [last.created.getTime(), last.id] });
      expect(rest.map(({ id }) => id)).toEqual([b, ids[1]]);
    });

    test("revokes a key once, and only for its tenant or for all", async () => {
      const { key } = await add();
      const at = new Date("2026-02-01T00:00:00Z");
      expect(await store.revoke(key.id, "globex", at)).toBeUndefined();
      expect((await store.find(key.id))?.key.revoked).toBeUndefined();
      expect(await store.revoke(key.id, "acme", at)).toEqual({ ...key, revoked: at });
      expect((await store.revoke(key.id, undefined, new Date("2026-03-01T00:00:00Z")))?.revoked).toEqual(at);
      expect(await store.revoke("ragents_aaaaaaaaaaaa", undefined, at)).toBeUndefined();
    });

    test("tells what was revoked since a time", async () => {
      const [early, late] = [await add(), await add()];
      await add();
      await store.revoke(early.key.id, undefined, new Date(created.getTime() + 1_000));
      await store.revoke(late.key.id, undefined, new Date(created.getTime() + 2_000));
      expect(await store.revokedSince(new Date(created.getTime() + 1_001))).toEqual([late.key.id]);
      expect((await store.revokedSince(new Date(created.getTime() + 1_000))).sort()).toEqual([early.key.id, late.key.id].sort());
    });

    test("notes when keys were used", async () => {
      const [one, two, unused] = [await add(), await add(), await add()];
      const at = new Date("2026-02-01T00:00:00Z");
      await store.noteUse([one.key.id, two.key.id], at);
      const used = async (id: string) => (await store.find(id))?.key.lastUsed;
      expect(await Promise.all([one, two, unused].map(({ key }) => used(key.id)))).toEqual([at, at, undefined]);
    });

    test("has no secret in its table", async () => {
      const { id, secret, hash } = newApiKey();
      const { key } = keyOf({ id });
      await store.add(key, hash, undefined);
      const [row] = await db.query("select api_keys::text as everything from gateway.api_keys");
      expect(String(row?.["everything"])).not.toContain(secret.slice(id.length + 1));
    });
  });
}
