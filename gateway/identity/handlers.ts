import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { IdentityService } from "../../gen/ragents/gateway/v1/identity_service_pb.js";
import { type ApiKey, ApiKeySchema } from "../../gen/ragents/gateway/v1/key_pb.js";
import { currentCall, type Identity } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { invalidField, meshError } from "../../runtime/errors.js";
import { newApiKey } from "./api-key.js";
import type { ApiKeys } from "./api-keys.js";
import type { KeyPosition, KeyStore, StoredKey } from "./key-store.js";

const DEFAULT_PAGE_SIZE = 50;

/** Handlers of the identity service. Without a store those of keys refuse. */
export function identityHandlers(deps: {
  keys: { store: KeyStore; checker: ApiKeys } | undefined;
  /** Whether callers must show who they are; the first key makes it so. */
  required: () => boolean;
  clock: Clock;
}): ServiceImpl<typeof IdentityService> {
  function keys(): { store: KeyStore; checker: ApiKeys } {
    if (deps.keys !== undefined) return deps.keys;
    const message = "This gateway has no database to keep API keys in; set RAGENTS_GATEWAY_URL.";
    throw meshError(Code.FailedPrecondition, ErrorReason.NO_KEY_STORE, message);
  }

  return {
    getIdentity() {
      const { tenant, user, roles, tier } = caller();
      return { tenant, user: user ?? "", roles: [...(roles ?? [])], tier: tier ?? "" };
    },
    async createApiKey(request) {
      const { store, checker } = keys();
      const tenant = chosenTenant(request.tenant);
      if (!deps.required() && !request.roles.includes(Role.ADMIN)) throw firstKeyNotAdmin();
      const now = deps.clock.now();
      const { id, secret, hash } = newApiKey();
      const key: StoredKey = {
        id,
        displayName: request.displayName,
        tenant,
        user: request.user,
        roles: request.roles,
        tier: request.tier,
        created: new Date(now),
        expires: request.ttl && new Date(now + durationMs(request.ttl)),
        revoked: undefined,
        lastUsed: undefined,
      };
      const existing = await store.add(key, hash, request.idempotencyKey || undefined);
      if (existing !== undefined) throw keyExists(existing);
      checker.noteCreated();
      return { apiKey: toMessage(key), secret };
    },
    async listApiKeys(request) {
      const tenant = chosenTenant(request.tenant);
      const size = request.pageSize || DEFAULT_PAGE_SIZE;
      const found = await keys().store.list(tenant, { after: positionOf(request.pageToken), limit: size + 1 });
      const page = found.slice(0, size);
      const last = found.length > size ? page.at(-1) : undefined;
      return { apiKeys: page.map(toMessage), nextPageToken: last === undefined ? "" : pageToken([last.created.getTime(), last.id]) };
    },
    async revokeApiKey(request) {
      const { store, checker } = keys();
      const { tenant, operator } = caller();
      const key = await store.revoke(request.key, operator === true ? undefined : tenant, new Date(deps.clock.now()));
      if (key === undefined) throw meshError(Code.NotFound, ErrorReason.KEY_NOT_FOUND, `There is no API key ${request.key}.`);
      checker.forget(key.id);
      return { apiKey: toMessage(key) };
    },
  };
}

function caller(): Identity {
  return currentCall()!.identity;
}

/** The named tenant where the caller may name it, else the caller's own. */
function chosenTenant(named: string): string {
  const { tenant, operator } = caller();
  if (named === "" || named === tenant || operator === true) return named || tenant;
  const message = "tenant: only the operator, who holds RAGENTS_ADMIN_KEY, may name another tenant than its own";
  throw meshError(Code.PermissionDenied, ErrorReason.TENANT_NOT_ALLOWED, message);
}

function firstKeyNotAdmin() {
  const message = "The first key must have the role admin: from then on the mesh asks for keys, and only an admin makes more.";
  return meshError(Code.FailedPrecondition, ErrorReason.FIRST_KEY_NOT_ADMIN, message);
}

function keyExists(id: string) {
  const message = `The key ${id} was made with this idempotency_key before; its secret cannot be shown again.`;
  return meshError(Code.AlreadyExists, ErrorReason.KEY_EXISTS, message, { metadata: { key: id } });
}

function pageToken(position: KeyPosition): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

function positionOf(token: string): KeyPosition | undefined {
  if (token === "") return undefined;
  try {
    const [created, id] = JSON.parse(Buffer.from(token, "base64url").toString()) as unknown[];
    if (Number.isSafeInteger(created) && Math.abs(created as number) < 8.64e15 && typeof id === "string" && !id.includes("\0")) {
      return [created as number, id];
    }
  } catch {
    // Said below.
  }
  throw invalidField("page_token", "is not one that this list handed out; start without one", ErrorReason.INVALID_PAGE_TOKEN);
}

function toMessage(key: StoredKey): ApiKey {
  const time = (date: Date | undefined) => date && timestampFromDate(date);
  return create(ApiKeySchema, {
    id: key.id,
    displayName: key.displayName,
    tenant: key.tenant,
    user: key.user,
    roles: [...key.roles],
    tier: key.tier,
    createTime: time(key.created),
    expireTime: time(key.expires),
    revokeTime: time(key.revoked),
    lastUseTime: time(key.lastUsed),
  });
}
