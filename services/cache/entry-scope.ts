import { hash } from "node:crypto";
import type { CacheKind, CacheScope, CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import type { EntryScope } from "./store.js";

/** 128 bits of a SHA-256: the scope's id in every store. */
const ID_LENGTH = 22;

/** Joins what the request says with the tenant of its call. */
export function entryScope(tenant: string, kind: CacheKind, parts: CacheScope): EntryScope {
  const { collection, epoch, model, parametersHash } = parts;
  // The lengths keep scopes apart whose parts run together to the same string.
  const lengths = [tenant, collection, epoch, model].map((part) => part.length).join(" ");
  const parameters = Buffer.from(parametersHash).toString("base64url");
  const id = hash("sha256", `${kind} ${lengths} ${tenant}${collection}${epoch}${model}${parameters}`, "base64url");
  return { tenant, kind, parts, id: id.slice(0, ID_LENGTH) };
}

/** Whether a selector names the entries of this kind and scope. */
export function selects(selector: CacheSelector, kind: CacheKind, parts: CacheScope): boolean {
  return (
    (selector.kinds.length === 0 || selector.kinds.includes(kind)) &&
    (selector.collection === undefined || selector.collection === parts.collection) &&
    (selector.epoch === undefined || selector.epoch === parts.epoch) &&
    (selector.model === undefined || selector.model === parts.model) &&
    (selector.parametersHash === undefined || Buffer.compare(selector.parametersHash, parts.parametersHash) === 0)
  );
}
