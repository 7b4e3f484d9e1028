import { createHash, randomFillSync } from "node:crypto";

/**
 * A new id for a span: UUID version 7 (RFC 9562), as Opik asks for. Ids made later sort later, by the millisecond.
 */
export function newSpanId(): string {
  return format(randomBytes());
}

/** A new id for a trace of `tenant`: UUID version 7 whose last four bytes are checked by `isTraceOf`. */
export function newTraceId(tenant: string): string {
  const bytes = randomBytes();
  check(bytes, tenant).copy(bytes, 12);
  return format(bytes);
}

/**
 * Whether a trace can be one of `tenant`. Nobody keeps a list of traces: the id itself holds a check of its tenant, so
 * that another tenant's passes by chance only (one in four billion).
 */
export function isTraceOf(traceId: string, tenant: string): boolean {
  const bytes = Buffer.from(traceId.replaceAll("-", ""), "hex");
  return bytes.length === 16 && check(bytes, tenant).equals(bytes.subarray(12));
}

function check(bytes: Buffer, tenant: string): Buffer {
  return createHash("sha256").update(bytes.subarray(0, 12)).update(tenant).digest().subarray(0, 4);
}

/** Random bytes for 256 ids: asking for sixteen at a time costs more than the rest of an id. */
const pool = Buffer.alloc(4096);
let used = pool.length;

function randomBytes(): Buffer {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const bytes = Buffer.from(pool.subarray(used, used + 16));
  used += 16;
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes;
}

function format(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
