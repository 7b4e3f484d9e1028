import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { unlessAborted } from "../../../runtime/unless-aborted.js";
import { DocumentError } from "../ingestion/document-failure.js";
import type { PageVersion } from "../store/store.js";
import { type FetchRules, hostOf, mayReach, NOT_PUBLIC, refusalOf } from "./fetch-rules.js";
import { type HttpAnswer, request } from "./http-request.js";

export interface Page {
  readonly content: Uint8Array;
  /** As the server says; may be empty. */
  readonly contentType: string;
  /** The last part of the path that led to it in the end, for its extension. */
  readonly name: string;
  readonly version: PageVersion;
}

export interface PageRequest {
  /** Private hosts are for those tenants alone that may read the server's folders. */
  readonly tenant: string;
  /** Of the page that is known: one that did not change is not sent again. */
  readonly known?: PageVersion | undefined;
  readonly signal: AbortSignal;
}

/** All addresses of a host. Rejects with an error whose code is ENOTFOUND when it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** A page that could not be fetched; some such failures mend. */
export class FetchError extends DocumentError {
  override name = "FetchError";
  readonly mayMend: boolean;

  constructor(message: string, options: ErrorOptions & { mayMend: boolean }) {
    super(ErrorReason.FETCH_FAILED, message, options);
    this.mayMend = options.mayMend;
  }
}

const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];
const MENDING = [408, 425, 429, 500, 502, 503, 504];
/** Longer validators are not kept. */
const MAX_VALIDATOR = 1_000;
/** The address, not the host, failed: another one may be there. */
const UNREACHABLE = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]);

/** Fetches documents by http and https, from where its rules let it. */
export class PageFetcher {
  readonly #rules: FetchRules;
  readonly #privateTenants: readonly string[];
  readonly #resolve: Resolve;

  constructor(rules: FetchRules, privateTenants: readonly string[], resolve: Resolve = addressesOf) {
    this.#rules = rules;
    this.#privateTenants = privateTenants;
    this.#resolve = resolve;
  }

  /** Why the URL will not be fetched; undefined when nothing but its host's addresses may stand against it. */
  refusal(url: URL, tenant: string): string | undefined {
    return refusalOf(url, this.#rulesOf(tenant));
  }

  /**
   * The page; undefined when it is as it was. Every host on the way is resolved once, its addresses are checked, and it is one of
   * them that is connected to. Rejects with DocumentError.
   */
  async fetch(url: string, { tenant, known, signal: outer }: PageRequest): Promise<Page | undefined> {
    const rules = this.#rulesOf(tenant);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), rules.timeoutMs);
    const signal = AbortSignal.any([outer, late.signal]);
    try {
      return await this.#follow(new URL(url), rules, known, signal);
    } catch (cause) {
      outer.throwIfAborted();
      if (late.signal.aborted) {
        throw new FetchError(`The page did not come within ${rules.timeoutMs / 1000} s (RAGENTS_INGEST_URL_TIMEOUT_S).`, { mayMend: false, cause });
      }
      if (cause instanceof DocumentError) throw cause;
      const code = (cause as NodeJS.ErrnoException).code ?? "no answer";
      throw new FetchError(`The server cannot be talked to (${code}); check the URL, or ingest it again later.`, { mayMend: true, cause });
    } finally {
      clearTimeout(timer);
    }
  }

  #rulesOf(tenant: string): FetchRules {
    return this.#privateTenants.includes(tenant) ? this.#rules : { ...this.#rules, privateHosts: new Set() };
  }

  async #follow(start: URL, rules: FetchRules, known: PageVersion | undefined, signal: AbortSignal): Promise<Page | undefined> {
    let url = start;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
      const answer = await this.#get(url, rules, known, signal);
      const { location } = answer.headers;
      if (!REDIRECTS.includes(answer.status) || location === undefined) return pageOf(answer, url, known);
      if (!URL.canParse(location, url.href)) throw new FetchError("The server redirects to what is no URL.", { mayMend: false });
      url = new URL(location, url);
    }
    throw new FetchError(`The page is behind more than ${MAX_REDIRECTS} redirects; give the URL that they lead to.`, { mayMend: false });
  }

  async #get(url: URL, rules: FetchRules, known: PageVersion | undefined, signal: AbortSignal): Promise<HttpAnswer> {
    const refusal = refusalOf(url, rules);
    if (refusal !== undefined) throw notAllowed(refusal);
    // Resolving a name cannot be given up; nobody waits for it.
    const addresses = await unlessAborted(this.#allowed(url, rules), signal);
    const headers = {
      ...(known?.etag !== undefined && { "if-none-match": known.etag }),
      ...(known?.lastModified !== undefined && { "if-modified-since": known.lastModified }),
    };
    for (const [i, address] of addresses.entries()) {
      try {
        return await request(url, address, { headers, maxBytes: rules.maxBytes, signal });
      } catch (error) {
        if (i === addresses.length - 1 || !UNREACHABLE.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      }
    }
    throw new FetchError("The host has no address.", { mayMend: false });
  }

  /** The host's addresses, if all of them may be connected to: a host that has others too is up to something. */
  async #allowed(url: URL, rules: FetchRules): Promise<readonly string[]> {
    const host = hostOf(url);
    if (isIP(host) !== 0) return [host];
    const addresses = await this.#resolve(host).catch((cause: NodeJS.ErrnoException) => {
      const message = `The host ${host} cannot be found; check the URL.`;
      throw new FetchError(message, { mayMend: cause.code !== "ENOTFOUND", cause });
    });
    if (!addresses.every((address) => mayReach(url, address, rules))) throw notAllowed(NOT_PUBLIC);
    return addresses;
  }
}

function pageOf({ status, headers, content }: HttpAnswer, url: URL, known: PageVersion | undefined): Page | undefined {
  if (status === 304 && known !== undefined) return undefined;
  if (status !== 200) throw new FetchError(`The server answered with status ${status}; check the URL.`, { mayMend: MENDING.includes(status) });
  const { etag, "last-modified": lastModified, "content-type": contentType = "" } = headers;
  const isKept = (validator: string | undefined) => validator !== undefined && validator.length <= MAX_VALIDATOR;
  return {
    content,
    contentType,
    name: url.pathname.split("/").at(-1)!,
    version: { ...(isKept(etag) && { etag }), ...(isKept(lastModified) && { lastModified }) },
  };
}

/** As the system resolves names; IPv4 first, which works where IPv6 leads nowhere. */
async function addressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  return found.sort((a, b) => a.family - b.family).map(({ address }) => address);
}

function notAllowed(refusal: string): DocumentError {
  return new DocumentError(ErrorReason.URL_NOT_ALLOWED, `The URL, or one that it redirects to, ${refusal}.`);
}
