import { hash } from "node:crypto";
import { create, type Message } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { LRUCache } from "lru-cache";
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

/** A kind and a scope as the service takes them, found again by what they are made of. */
export interface ResolvedScope {
  readonly kind: KindNumber;
  readonly message: ScopeMessage;
  /** Whether the service may look for an equivalent text, and so needs the text itself. */
  readonly sendsTexts: boolean;
  /** Unique in this process; part of the keys of the caller's own memory. */
  readonly id: number;
}

const RECENT_SCOPES = 1_000;
const validator = createValidator();

/**
 * Turns scopes into messages, each only once: callers make the same few scopes again and again, and hashing the
 * parameters each time would cost more than a local hit.
 */
export class ScopeResolver {
  readonly #recent = new LRUCache<string, ResolvedScope>({ max: RECENT_SCOPES });
  #nextId = 0;

  /** Undefined when the service would refuse the scope: the reason is in `problemOf`. */
  resolve(kind: CacheKind, scope: CacheScope): ResolvedScope | undefined {
    const epoch = String(scope.epoch);
    const lengths = `${kind} ${scope.collection.length} ${epoch.length} ${scope.model.length}`;
    // The lengths keep two scopes apart whose parts run together to the same string.
    const key = `${lengths} ${scope.collection}${epoch}${scope.model}${scope.parameters}`;
    const known = this.#recent.get(key);
    if (known !== undefined) return known;
    const number = KindNumber[kind];
    const message = scopeMessage(scope);
    if (number === undefined || problemOf(message) !== undefined) return undefined;
    const resolved = { kind: number, message, sendsTexts: kind === "ANSWER", id: this.#nextId };
    this.#nextId += 1;
    this.#recent.set(key, resolved);
    return resolved;
  }
}

/** A scope as the service takes it. */
export function scopeMessage(scope: CacheScope): ScopeMessage {
  return create(CacheScopeSchema, {
    collection: scope.collection,
    epoch: String(scope.epoch),
    model: scope.model,
    parametersHash: sha256(scope.parameters),
  });
}

/** The hash by which the service finds a text's value. */
export function sha256(text: string): Uint8Array {
  return hash("sha256", text, "buffer");
}

/** What the service would refuse a scope for, e.g. "collection: value length must be at least 1 bytes". */
export function problemOf(message: Message & ScopeMessage): string | undefined {
  const result = validator.validate(CacheScopeSchema, message);
  return result.kind === "valid" ? undefined : (result.error?.message ?? "the scope is not valid");
}
