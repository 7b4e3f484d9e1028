import { createHash } from "node:crypto";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import { charsetOf, detectType } from "../extraction/extract.js";
import { FetchError, type Page, type PageFetcher } from "../fetching/page-fetcher.js";
import type { JobDocument } from "../store/store.js";
import { DocumentError } from "./document-failure.js";
import { asKnown, type PrepareOptions, type Unchanged, unchanged } from "./prepare-document.js";
import { retrying } from "./retrying.js";

export interface ReadPageDependencies {
  /** Undefined when nothing may be fetched. */
  readonly pages: Pick<PageFetcher, "fetch"> | undefined;
  readonly clock: Clock;
  readonly tenant: string;
}

/** A page that is to be read: the document, with what is known now, and its bytes. */
export interface FetchedPage {
  readonly kind: "fetched";
  readonly document: JobDocument;
  readonly page: Page;
}

/** Fetches a document's page, four times at most. Rejects with DocumentError or ExtractionError. */
export async function readPage(document: JobDocument, url: string, options: PrepareOptions, deps: ReadPageDependencies): Promise<Unchanged | FetchedPage> {
  const { pages, clock, tenant } = deps;
  if (pages === undefined) {
    throw new DocumentError(ErrorReason.URL_NOT_ALLOWED, "Who runs ingestion jobs here fetches no pages (RAGENTS_INGEST_URLS); download it and upload it.");
  }
  const { version, signal } = options;
  options.onPhase("PARSING");
  const page = await retrying(() => pages.fetch(url, { tenant, known: version?.page, signal }), {
    clock,
    signal,
    isFinal: (error) => !(error instanceof FetchError && error.mayMend),
  });
  if (page === undefined) return asKnown(document, version!, options);
  const { content, contentType, name } = page;
  const mimeType = detectType({ content, name, mimeType: contentType });
  const hash = createHash("sha256").update(content).digest("hex");
  const same = unchanged({ ...document, mimeType }, hash, options);
  if (same !== undefined) return same;
  const charset = charsetOf(contentType);
  return {
    kind: "fetched",
    document: { ...document, mimeType: charset === undefined ? mimeType : `${mimeType}; charset=${charset}`, sizeBytes: content.length },
    page,
  };
}
