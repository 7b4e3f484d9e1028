import { isIP } from "node:net";
import { z } from "zod";
import { commaList, integer } from "../../../runtime/config.js";
import { type AddressKind, addressKind } from "./addresses.js";

/** What may be fetched. */
export interface FetchRules {
  /** Schemes with their ports, such as "https:443". */
  readonly origins: ReadonlySet<string>;
  /** Hosts, "name" or "name:port", that may be fetched from although their addresses are private. */
  readonly privateHosts: ReadonlySet<string>;
  /** Of one document. */
  readonly maxBytes: number;
  /** For one document, redirects included. */
  readonly timeoutMs: number;
}

const PORTS: Record<string, string> = { https: "443", http: "80" };

/** Variables of what may be fetched. */
export const fetchRulesSchema = z.object({
  RAGENTS_INGEST_URLS: commaList([]).refine((origins) => origins.every((one) => /^https?(:\d{1,5})?$/.test(one)), "give https, http, or one of them with a port, such as https:8443"),
  RAGENTS_INGEST_URL_PRIVATE_HOSTS: commaList([]).refine((hosts) => hosts.every((one) => /^[^\s/@]+$/.test(one)), "give HOST or HOST:PORT"),
  RAGENTS_INGEST_URL_MB: integer({ default: 20, min: 1, max: 64, unit: "megabytes" }),
  RAGENTS_INGEST_URL_TIMEOUT_S: integer({ default: 30, min: 1, max: 600, unit: "seconds" }),
});

/** The rules that variables say; undefined when nothing may be fetched. */
export function fetchRulesOf(values: z.infer<typeof fetchRulesSchema>): FetchRules | undefined {
  if (values.RAGENTS_INGEST_URLS.length === 0) return undefined;
  return {
    origins: new Set(values.RAGENTS_INGEST_URLS.map((one) => (one.includes(":") ? one : `${one}:${PORTS[one]}`))),
    privateHosts: new Set(values.RAGENTS_INGEST_URL_PRIVATE_HOSTS.map((host) => host.toLowerCase())),
    maxBytes: values.RAGENTS_INGEST_URL_MB * 1_000_000,
    timeoutMs: values.RAGENTS_INGEST_URL_TIMEOUT_S * 1000,
  };
}

/** Why a URL may not be fetched, as in "<the URL> ..."; undefined for one that may, as far as it can be told without its addresses. */
export function refusalOf(url: URL, rules: FetchRules): string | undefined {
  const scheme = url.protocol.slice(0, -1);
  const port = url.port || PORTS[scheme];
  if (!rules.origins.has(`${scheme}:${port}`)) {
    return `is not fetched: by RAGENTS_INGEST_URLS the server fetches ${[...rules.origins].join(", ")}, not ${scheme}${port === undefined ? "" : `:${port}`}`;
  }
  // They would stand in the document's id, in logs and beside citations.
  if (url.username !== "" || url.password !== "") return "holds credentials, which are not sent; fetch it yourself and upload it";
  const literal = hostOf(url);
  return isIP(literal) === 0 || mayReach(url, literal, rules) ? undefined : NOT_PUBLIC;
}

/** What a URL is refused by once its addresses are known. */
export const NOT_PUBLIC = "leads to an address that is not public; an operator can allow a private host by RAGENTS_INGEST_URL_PRIVATE_HOSTS";

/** Whether a URL's document may be fetched from an address that its host has. */
export function mayReach(url: URL, address: string, { privateHosts }: FetchRules): boolean {
  const kind: AddressKind = addressKind(address);
  if (kind !== "private") return kind === "public";
  const host = hostOf(url);
  const port = url.port || PORTS[url.protocol.slice(0, -1)];
  return privateHosts.has(host) || privateHosts.has(`${host}:${port}`);
}

/** The host's name or address, without the brackets around IPv6. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}
