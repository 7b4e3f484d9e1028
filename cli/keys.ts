import { create, toJson } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError } from "commander";
import { Role } from "../gen/ragents/auth/v1/access_pb.js";
import { CreateApiKeyResponseSchema } from "../gen/ragents/gateway/v1/identity_service_pb.js";
import { type ApiKey, ApiKeySchema } from "../gen/ragents/gateway/v1/key_pb.js";
import { roleName, roleNamed } from "../runtime/identity/access.js";
import type { Mesh } from "./connection.js";

export interface NewKeyOptions {
  name: string;
  role: Role[];
  tenant: string;
  user: string;
  tier: string;
  expires?: number;
  json?: boolean;
}

const JSON_FORM = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;

/** Makes a key. The secret goes to stdout, so that it can be piped; what to know about it goes to stderr. */
export async function createKey({ identity }: Mesh, options: NewKeyOptions): Promise<void> {
  const answer = await identity.createApiKey({
    displayName: options.name,
    tenant: options.tenant,
    user: options.user,
    roles: options.role,
    tier: options.tier,
    ...(options.expires !== undefined && { ttl: durationFromMs(options.expires) }),
  });
  if (options.json === true) return print(toJson(CreateApiKeyResponseSchema, create(CreateApiKeyResponseSchema, answer), JSON_FORM));
  const { id, tenant, roles } = answer.apiKey!;
  process.stderr.write(`Key ${id} of the tenant ${tenant}, ${roles.map(roleName).join(" and ")}. This is shown once:\n`);
  process.stdout.write(`${answer.secret}\n`);
  process.stderr.write("Send it as \"Authorization: Bearer KEY\"; these commands read it from RAGENTS_API_KEY.\n");
}

/** Lists the keys of a tenant, newest first. */
export async function listKeys({ identity }: Mesh, options: { tenant: string; json?: boolean }): Promise<void> {
  const keys: ApiKey[] = [];
  let pageToken = "";
  do {
    const page = await identity.listApiKeys({ tenant: options.tenant, pageSize: 1000, pageToken });
    keys.push(...page.apiKeys);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  if (options.json === true) return print(keys.map((key) => toJson(ApiKeySchema, key, JSON_FORM)));
  if (keys.length === 0) return void process.stdout.write("There are no keys.\n");
  const rows = keys.map((key) => [key.id, stateOf(key), key.roles.map(roleName).join(","), key.user, key.tier, dayOf(key.createTime), dayOf(key.lastUseTime), key.displayName]);
  process.stdout.write(table([["KEY", "STATE", "ROLES", "USER", "TIER", "CREATED", "LAST USED", "NAME"], ...rows]));
}

/** Revokes a key. */
export async function revokeKey({ identity }: Mesh, id: string): Promise<void> {
  const { apiKey } = await identity.revokeApiKey({ key: id });
  process.stdout.write(`${apiKey!.id} is revoked.\n`);
}

/** Collects the roles of an option that may be repeated. */
export function parseRole(name: string, before: Role[] = []): Role[] {
  const role = roleNamed(name);
  if (role === undefined) throw new InvalidArgumentError("give reader, writer or admin");
  return before.includes(role) ? before : [...before, role];
}

const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, y: 365 * 86_400_000 };

/** A time such as 90d, in milliseconds. */
export function parseLifetime(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,5})([mhdy])$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError("give a number and m, h, d or y, for example 90d");
  return Number(count) * UNIT_MS[unit!]!;
}

function stateOf({ revokeTime, expireTime }: ApiKey): string {
  if (revokeTime !== undefined) return "revoked";
  if (expireTime === undefined) return "active";
  return timestampDate(expireTime) <= new Date() ? "expired" : `until ${dayOf(expireTime)}`;
}

function dayOf(time: ApiKey["createTime"]): string {
  return time === undefined ? "never" : timestampDate(time).toISOString().slice(0, 10);
}

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()}\n`).join("");
}

function print(json: unknown): void {
  process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
}
