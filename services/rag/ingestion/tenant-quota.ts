import { Code, type ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { meshError } from "../../../runtime/errors.js";
import type { CollectionStore, TenantUsage } from "../store/store.js";
import { DocumentError } from "./document-failure.js";

/** What a tenant may have in all of its collections. Default of each: no limit. */
export interface TenantLimits {
  readonly documents?: number | undefined;
  /** Text of the documents, in bytes. */
  readonly textBytes?: number | undefined;
}

/** Throws RESOURCE_EXHAUSTED QUOTA_EXCEEDED when a tenant may have nothing more: its job would only fail. */
export async function requireQuota(store: Pick<CollectionStore, "tenantUsage">, tenant: string, limits: TenantLimits): Promise<void> {
  if (limits.documents === undefined && limits.textBytes === undefined) return;
  const problem = exceeded(await store.tenantUsage(tenant), limits);
  if (problem !== undefined) throw quotaExceeded(problem);
}

/**
 * What one run of a job may still add. Runs of the same tenant at once know of each other's documents when those are committed:
 * together they may be over by what is under way.
 */
export class TenantQuota {
  readonly #store: Pick<CollectionStore, "tenantUsage">;
  readonly #tenant: string;
  readonly #limits: TenantLimits;
  #used: TenantUsage | undefined;

  constructor(store: Pick<CollectionStore, "tenantUsage">, tenant: string, limits: TenantLimits) {
    this.#store = store;
    this.#tenant = tenant;
    this.#limits = limits;
  }

  /** Reads what the tenant has; to be called at the start and after each commit. */
  async refresh(): Promise<void> {
    const { documents, textBytes } = this.#limits;
    if (documents !== undefined || textBytes !== undefined) this.#used = await this.#store.tenantUsage(this.#tenant);
  }

  /** Counts a document that is about to be stored. Throws DocumentError QUOTA_EXCEEDED when it is one too many. */
  take(document: { isNew: boolean; textBytes: number }): void {
    if (this.#used === undefined) return;
    const problem = exceeded(this.#used, this.#limits);
    if (problem?.what === "documents" ? document.isNew : problem !== undefined) {
      throw new DocumentError(ErrorReason.QUOTA_EXCEEDED, messageOf(problem!));
    }
    this.#used = {
      documents: this.#used.documents + (document.isNew ? 1 : 0),
      textBytes: this.#used.textBytes + document.textBytes,
    };
  }
}

interface Problem {
  readonly what: "documents" | "textBytes";
  readonly limit: number;
  readonly named: string;
}

/** Bytes first: they stop replacements of documents too. */
function exceeded(used: TenantUsage, limits: TenantLimits): Problem | undefined {
  for (const [what, named] of [["textBytes", "bytes of text"], ["documents", "documents"]] as const) {
    const limit = limits[what];
    if (limit !== undefined && used[what] >= limit) return { what, limit, named: `${limit} ${named}` };
  }
  return undefined;
}

function messageOf({ named }: Problem): string {
  return `The tenant has all the ${named} it may; delete documents, or ask for a higher quota.`;
}

function quotaExceeded(problem: Problem): ConnectError {
  const { what, limit } = problem;
  const metadata = { quota: what === "documents" ? "documents" : "text_bytes", limit: String(limit) };
  return meshError(Code.ResourceExhausted, ErrorReason.QUOTA_EXCEEDED, messageOf(problem), { metadata });
}
