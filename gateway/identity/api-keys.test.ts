import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { silentLogger } from "../../runtime/logger.js";
import type { SqlDatabase } from "../../runtime/sql/database.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { newApiKey } from "./api-key.js";
import { ApiKeys } from "./api-keys.js";
import type { KeyStore, StoredKey } from "./key-store.js";
import { openSqlKeyStore } from "./key-store-sql.js";

let db: SqlDatabase;
let sqlStore: KeyStore;
let clock: ManualClock;
let finds: string[];
/** Whether the store answers. */
let reachable: boolean;
/** The store as a replica sees it. */
let store: KeyStore;
const opened: ApiKeys[] = [];

beforeAll(async () => {
  db = await openPglite();
  sqlStore = await openSqlKeyStore(db);
});
afterAll(() => db.close());
beforeEach(async () => {
  await db.query("truncate gateway.api_keys");
  clock = new ManualClock();
  finds = [];
  reachable = true;
  const ifReachable = async <T>(work: () => Promise<T>) => {
    if (!reachable) throw new Error("connection lost");
    return work();
  };
  store = {
    ...sqlStore,
    find(id) {
      finds.push(id);
      return ifReachable(() => sqlStore.find(id));
    },
    revokedSince: (since) => ifReachable(() => sqlStore.revokedSince(since)),
    close: async () => {},
  };
});
afterEach(async () => {
  for (const keys of opened.splice(0)) await keys.close();
});

async function replica(): Promise<ApiKeys> {
  const keys = await ApiKeys.open({ store, clock, logger: silentLogger });
  opened.push(keys);
  return keys;
}

async function add(fields: Partial<StoredKey> = {}): Promise<{ id: string; secret: string }> {
  const { id, secret, hash } = newApiKey();
  const key: StoredKey = {
    id,
    displayName: "",
    tenant: "acme",
    user: "alice",
    roles: [Role.READER],
    tier: "",
    created: new Date(clock.now()),
    expires: undefined,
    revoked: undefined,
    lastUsed: undefined,
    ...fields,
  };
  await sqlStore.add(key, hash, undefined);
  return { id, secret };
}

describe("an API key", () => {
  test("is its tenant's and user's, with its roles and tier", async () => {
    const keys = await replica();
    const { secret } = await add({ tier: "gold", roles: [Role.WRITER] });
    expect(await keys.identity(secret)).toEqual({ tenant: "acme", user: "alice", roles: [Role.WRITER], tier: "gold" });
  });

  test("is looked up once by all who ask at the same time, then remembered for a minute", async () => {
    const keys = await replica();
    const { secret } = await add();
    await Promise.all(Array.from({ length: 50 }, () => keys.identity(secret)));
    expect(finds).toHaveLength(1);
    expect(keys.identity(secret)).not.toBeInstanceOf(Promise);
    await clock.advance(59_999);
    await keys.identity(secret);
    expect(finds).toHaveLength(1);
    await clock.advance(1);
    await keys.identity(secret);
    expect(finds).toHaveLength(2);
  });

  test("ends at its time, also while it is remembered", async () => {
    const keys = await replica();
    const { secret } = await add({ expires: new Date(clock.now() + 30_000) });
    expect(await keys.identity(secret)).toBeDefined();
    await clock.advance(29_999);
    expect(await keys.identity(secret)).toBeDefined();
    await clock.advance(1);
    expect(await keys.identity(secret)).toBeUndefined();
  });

  test("needs the whole secret: the right id with another secret is nobody's, remembered or not", async () => {
    const keys = await replica();
    const { secret, id } = await add();
    const guess = `${id}_${"a".repeat(43)}`;
    expect(await keys.identity(guess)).toBeUndefined();
    expect(await keys.identity(secret)).toBeDefined();
    expect(await keys.identity(guess)).toBeUndefined();
  });

  test("is not asked for when it cannot be one", async () => {
    const keys = await replica();
    expect(await keys.identity("sk-something")).toBeUndefined();
    expect(finds).toEqual([]);
  });

  test("that does not exist is asked for every five seconds, not each time", async () => {
    const keys = await replica();
    const { secret } = newApiKey();
    for (let i = 0; i < 10; i += 1) expect(await keys.identity(secret)).toBeUndefined();
    expect(finds).toHaveLength(1);
    await clock.advance(5_000);
    await keys.identity(secret);
    expect(finds).toHaveLength(2);
  });
});

describe("a revoked key", () => {
  test("is refused by other replicas after their next look, a second later", async () => {
    const keys = await replica();
    const { secret, id } = await add();
    expect(await keys.identity(secret)).toBeDefined();
    await clock.advance(10_000);
    await sqlStore.revoke(id, undefined, new Date(clock.now()));
    await keys.refresh();
    expect(await keys.identity(secret)).toBeUndefined();
  });

  test("is found by a replica whose clock is half a minute ahead", async () => {
    const keys = await replica();
    const { secret, id } = await add();
    expect(await keys.identity(secret)).toBeDefined();
    await sqlStore.revoke(id, undefined, new Date(clock.now() - 30_000));
    await keys.refresh();
    expect(await keys.identity(secret)).toBeUndefined();
  });

  test("is refused at once where it was revoked, also by a look-up under way", async () => {
    const keys = await replica();
    const { secret, id } = await add();
    const underWay = keys.identity(secret);
    await sqlStore.revoke(id, undefined, new Date(clock.now()));
    keys.forget(id);
    await underWay;
    expect(await keys.identity(secret)).toBeUndefined();
  });

  test("can be used a minute at most while the store cannot be reached; then the check fails", async () => {
    const keys = await replica();
    const { secret } = await add();
    await keys.identity(secret);
    reachable = false;
    await keys.refresh();
    await clock.advance(59_999);
    expect(await keys.identity(secret)).toBeDefined();
    await clock.advance(1);
    await expect(keys.identity(secret)).rejects.toThrow("connection lost");
    reachable = true;
    expect(await keys.identity(secret)).toBeDefined();
  });
});

test("a replica hears of the first key that another one made", async () => {
  const keys = await replica();
  expect(keys.none).toBe(true);
  await add();
  await keys.refresh();
  expect(keys.none).toBe(false);
});

test("the last use of a key is written once a minute, and at the end", async () => {
  const keys = await replica();
  const { secret, id } = await add();
  const lastUsed = async () => (await sqlStore.find(id))?.key.lastUsed?.getTime();
  await keys.identity(secret);
  await keys.refresh();
  expect(await lastUsed()).toBeUndefined();
  await clock.advance(60_000);
  await keys.refresh();
  expect(await lastUsed()).toBe(clock.now());
  await clock.advance(1_000);
  await keys.identity(secret);
  await keys.close();
  expect(await lastUsed()).toBe(clock.now());
});
