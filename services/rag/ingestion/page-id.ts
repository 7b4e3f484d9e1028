import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { currentTenant } from "../../../runtime/call-context.js";
import { invalidField } from "../../../runtime/errors.js";
import type { PageFetcher } from "../fetching/page-fetcher.js";

/** The most characters of a document's id. */
const MAX_ID = 512;

/**
 * The id of a page's document: its URL as the standard writes it, without the part that names a place in it. Throws
 * INVALID_ARGUMENT for what is no URL, or none that the server fetches for the caller's tenant.
 */
export function pageId(given: string, field: string, pages: Pick<PageFetcher, "refusal"> | undefined): string {
  const notAllowed = (problem: string) => invalidField(field, problem, ErrorReason.URL_NOT_ALLOWED);
  if (pages === undefined) throw notAllowed("is not fetched: this server fetches no pages (RAGENTS_INGEST_URLS); download it and upload it");
  if (!URL.canParse(given)) throw invalidField(field, "is no URL");
  const url = new URL(given);
  url.hash = "";
  const refusal = pages.refusal(url, currentTenant());
  if (refusal !== undefined) throw notAllowed(refusal);
  if (url.href.length > MAX_ID) throw invalidField(field, `has more than ${MAX_ID} characters when it is written out; it is the document's id`);
  return url.href;
}
