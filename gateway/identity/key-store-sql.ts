import { type Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { roleName, roleNamed } from "../../runtime/identity/access.js";
import type { SqlDatabase } from "../../runtime/sql/database.js";
import { type Migration, migrate } from "../../runtime/sql/migrate.js";
import type { KeyStore, StoredKey } from "./key-store.js";

const SCHEMA = "gateway";

/** The history of the schema. */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: [
      `create table gateway.api_keys (
        id text collate "C" primary key,
        secret_hash bytea not null,
        display_name text not null,
        tenant text collate "C" not null,
        user_name text not null,
        roles text[] not null,
        tier text not null,
        idempotency_key text collate "C",
        created_at timestamptz not null,
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz
      )`,
      "create index api_keys_list on gateway.api_keys (tenant, created_at desc, id desc)",
      "create index api_keys_revoked on gateway.api_keys (revoked_at) where revoked_at is not null",
      "create unique index api_keys_idempotency on gateway.api_keys (tenant, idempotency_key) where idempotency_key is not null",
    ],
  },
];

const COLUMNS = "id, display_name, tenant, user_name, roles, tier, created_at, expires_at, revoked_at, last_used_at";

interface KeyRow {
  id: string;
  display_name: string;
  tenant: string;
  user_name: string;
  roles: string[];
  tier: string;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
}

/** Keeps API keys in PostgreSQL or PGlite, in the schema "gateway", which it brings up to date first. Closes `db` with itself. */
export async function openSqlKeyStore(db: SqlDatabase): Promise<KeyStore> {
  await migrate(db, SCHEMA, MIGRATIONS);
  return {
    async add(key, secretHash, idempotencyKey) {
      const added = await db.query(
        `insert into gateway.api_keys
           (id, secret_hash, display_name, tenant, user_name, roles, tier, idempotency_key, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (tenant, idempotency_key) where idempotency_key is not null do nothing
         returning id`,
        [
          key.id,
          secretHash,
          key.displayName,
          key.tenant,
          key.user,
          key.roles.map(roleName),
          key.tier,
          idempotencyKey ?? null,
          key.created,
          key.expires ?? null,
        ],
      );
      if (added.length > 0) return undefined;
      const [existing] = await db.query<{ id: string }>("select id from gateway.api_keys where tenant = $1 and idempotency_key = $2", [
        key.tenant,
        idempotencyKey,
      ]);
      return existing?.id;
    },
    async find(id) {
      const [row] = await db.query<KeyRow & { secret_hash: Buffer }>(`select ${COLUMNS}, secret_hash from gateway.api_keys where id = $1`, [id]);
      return row && { key: toKey(row), secretHash: row.secret_hash };
    },
    async list(tenant, { after, limit }) {
      const rows = await db.query<KeyRow>(
        `select ${COLUMNS} from gateway.api_keys
         where tenant = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::text))
         order by created_at desc, id desc limit $4`,
        [tenant, after === undefined ? null : new Date(after[0]), after?.[1] ?? null, limit],
      );
      return rows.map(toKey);
    },
    async revoke(id, tenant, at) {
      const [row] = await db.query<KeyRow>(
        `update gateway.api_keys set revoked_at = coalesce(revoked_at, $3)
         where id = $1 and ($2::text is null or tenant = $2::text) returning ${COLUMNS}`,
        [id, tenant ?? null, at],
      );
      return row && toKey(row);
    },
    async revokedSince(since) {
      const rows = await db.query<{ id: string }>("select id from gateway.api_keys where revoked_at >= $1", [since]);
      return rows.map(({ id }) => id);
    },
    async isEmpty() {
      return (await db.query("select 1 from gateway.api_keys limit 1")).length === 0;
    },
    async noteUse(ids, at) {
      await db.query("update gateway.api_keys set last_used_at = $2 where id = any($1::text[])", [ids, at]);
    },
    close: () => db.close(),
  };
}

function toKey(row: KeyRow): StoredKey {
  return {
    id: row.id,
    displayName: row.display_name,
    tenant: row.tenant,
    user: row.user_name,
    roles: row.roles.map(roleNamed).filter((role): role is Role => role !== undefined),
    tier: row.tier,
    created: row.created_at,
    expires: row.expires_at ?? undefined,
    revoked: row.revoked_at ?? undefined,
    lastUsed: row.last_used_at ?? undefined,
  };
}
