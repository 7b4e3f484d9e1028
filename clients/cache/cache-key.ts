import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { CacheKind as KindNumber, type CacheScope as ScopeMessage, CacheScopeSchema } from "../../gen/ragents/cache/v1/cache_pb.js";

/** What a cached value is; it decides how long the value lives. */
export type CacheKind = "EMBEDDING" | "RETRIEVAL" | "QUERY_REWRITE" | "ANSWER";

/** What a value depends on besides its text and its tenant, which the service adds. */
export interface CacheScope {
  /** The collection that the value was made from, or a name of the caller's choice when no collection is part of it. */
  collection: string;
  /** The collection's epoch when the value was made: after it moved, older values are not found any more. */
  epoch: bigint | number | string;
  /** The model that made the value. */
  model: string;
  /** All else that the value depends on, as canonical JSON or any other string; only its hash is sent. */
  parameters: string;
}

/** A kind and a scope as the service takes them. */
export interface ResolvedScope {
  readonly kind: KindNumber;
  readonly message: ScopeMessage;
  /** Whether the service may look for an equivalent text, and so needs the text itself. */
  readonly sendsTexts: boolean;
  /** The same for equal scopes, also for those that come from the service. */
  readonly name: string;
}

const validator = createValidator();

/** Undefined when the service would refuse the kind or the scope: an empty or oversized part. */
export function resolveScope(kind: CacheKind, scope: CacheScope): ResolvedScope | undefined {
  const number = KindNumber[kind];
  const message = create(CacheScopeSchema, {
    collection: scope.collection,
    epoch: String(scope.epoch),
    model: scope.model,
    parametersHash: sha256(scope.parameters),
  });
  if (!number || validator.validate(CacheScopeSchema, message).kind !== "valid") return undefined;
  return { kind: number, message, sendsTexts: kind === "ANSWER", name: scopeName(number, message) };
}

/** Names a scope of the service; two scopes share a name only when they are equal. */
export function scopeName(kind: KindNumber, { collection, epoch, model, parametersHash }: ScopeMessage): string {
  return `${kind} ${joined(collection, epoch, model)}${Buffer.from(parametersHash).toString("base64url")}`;
}

/** Tells scopes apart without hashing their parameters. */
export function scopeKey(kind: CacheKind, scope: CacheScope): string {
  return `${kind} ${joined(scope.collection, String(scope.epoch), scope.model)}${scope.parameters}`;
}

/** The lengths keep parts apart that would run together to the same string. */
function joined(...[one, two, three]: [string, string, string]): string {
  return `${one.length} ${two.length} ${three.length} ${one}${two}${three}`;
}

/** The hash by which the service finds a text's value. */
export function sha256(text: string): Uint8Array {
  return hash("sha256", text, "buffer");
}
