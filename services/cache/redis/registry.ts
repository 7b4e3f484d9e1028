import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type CacheKind, type CacheScope, CacheScopeSchema } from "../../../gen/ragents/cache/v1/cache_pb.js";
import type { EntryScope } from "../store.js";
import { GENERATION_CHARS } from "./entry-codec.js";

/** A scope as the registry knows it: 11 characters of generation, 1 of kind, 10 of the second of birth, the parts as JSON. */
export interface RegisteredScope {
  id: string;
  generation: string;
  kind: CacheKind;
  parts: CacheScope;
}

const KIND_AT = GENERATION_CHARS;
const PARTS_AT = KIND_AT + 1 + 10;

/** A generation that no scope ever had. */
export function freshGeneration(): string {
  return randomBytes(8).toString("base64url");
}

/** What stands after the generation. */
export function scopeRecord({ kind, parts }: EntryScope, nowMs: number): string {
  const { collection, epoch, model, parametersHash } = parts;
  const seconds = String(Math.floor(nowMs / 1000)).padStart(10, "0");
  return `${kind}${seconds}${JSON.stringify([collection, epoch, model, Buffer.from(parametersHash).toString("base64url")])}`;
}

/** Reads a registry; fields that are not ours to understand are left out. */
export function readRegistry(fields: Record<string, string>): RegisteredScope[] {
  return Object.entries(fields).flatMap(([id, value]) => {
    try {
      const [collection, epoch, model, hash] = JSON.parse(value.slice(PARTS_AT)) as [string, string, string, string];
      const parts = create(CacheScopeSchema, { collection, epoch, model, parametersHash: Buffer.from(hash, "base64url") });
      return [{ id, generation: value.slice(0, GENERATION_CHARS), kind: Number(value[KIND_AT]) as CacheKind, parts }];
    } catch {
      return [];
    }
  });
}
