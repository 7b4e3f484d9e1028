import { join } from "node:path";
import type { ServiceImpl } from "@connectrpc/connect";
import type { IdentityService } from "../../gen/ragents/gateway/v1/identity_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import type { Logger } from "../../runtime/logger.js";
import { ConfigError } from "../../runtime/config.js";
import { isUnreachable, type SqlDatabase } from "../../runtime/sql/database.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { openPostgres } from "../../runtime/sql/postgres.js";
import { untilReachable } from "../../runtime/store-patience.js";
import { ApiKeys } from "./api-keys.js";
import { type Authenticator, createAuthenticator } from "./authenticator.js";
import { type IdentityConfig, loadIdentityConfig } from "./config.js";
import { identityHandlers } from "./handlers.js";
import { JsonWebTokens } from "./json-web-tokens.js";
import { openSqlKeyStore } from "./key-store-sql.js";

/** How clients show who they are, ready to be asked. */
export interface Authentication extends Authenticator {
  /** Handlers of the identity service. */
  readonly handlers: ServiceImpl<typeof IdentityService>;
  /** Whether there is any way to show who one is, now or after the first key. */
  readonly configured: boolean;
  close(): Promise<void>;
}

/**
 * Opens what the variables name: the admin key, the store of API keys, the issuer of tokens. Keys are kept at
 * RAGENTS_GATEWAY_URL, else in `shared.sql`, else nowhere.
 * @throws ConfigError when a variable is wrong or the store cannot be reached within RAGENTS_STORE_WAIT_S
 */
export async function openAuthentication(
  env: NodeJS.ProcessEnv,
  host: { logger: Logger; clock: Clock },
  shared: { sql?: SqlDatabase | undefined } = {},
): Promise<Authentication> {
  const config = loadIdentityConfig(env);
  const { clock, logger } = host;
  const db = await openDatabase(config, logger, shared.sql);
  const keys = db && (await openKeys(db, host, config.storeWaitMs));
  const tokens = config.jwt && new JsonWebTokens({ ...config.jwt, clock });
  const authenticator = createAuthenticator({ adminKey: config.adminKey, keys: keys?.checker, tokens });
  return {
    ...authenticator,
    handlers: identityHandlers({ keys, required: authenticator.required, clock }),
    configured: keys !== undefined || tokens !== undefined || config.adminKey !== undefined,
    async close() {
      await keys?.checker.close();
    },
  };
}

async function openKeys(db: SqlDatabase, host: { logger: Logger; clock: Clock }, waitMs: number) {
  try {
    await untilReachable(() => db.ping(), { ...host, logger: host.logger.child({ service: "gateway" }), waitMs });
    const store = await openSqlKeyStore(db);
    return { store, checker: await ApiKeys.open({ store, ...host }) };
  } catch (error) {
    await db.close();
    if (!isUnreachable(error)) throw error;
    throw new ConfigError(`The gateway cannot reach the database that RAGENTS_GATEWAY_URL names: ${(error as Error).message}`);
  }
}

async function openDatabase({ url, dataDir }: IdentityConfig, logger: Logger, shared: SqlDatabase | undefined): Promise<SqlDatabase | undefined> {
  if (url?.startsWith("postgres")) {
    const onIdleError = (err: Error) => logger.warn("database_connection_lost", { err });
    return openPostgres({ url, maxConnections: MAX_CONNECTIONS, onIdleError });
  }
  const folder = url?.slice("pglite:".length);
  if (folder) return openPglite(folder);
  // Shared: its owner closes it.
  if (shared !== undefined) return { ...shared, close: async () => {} };
  return url === undefined ? undefined : openPglite(join(dataDir, "postgres"));
}

/** Most checks are answered from memory. */
const MAX_CONNECTIONS = 4;
