import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority, issueCertificate } from "../runtime/tls/authority/authority.js";

/** The processes of a mesh; each gets a certificate. */
const SERVICES = ["gateway", "agent", "rag", "cache", "checkpoint", "ratelimit", "edge"];

/**
 * Makes a certificate authority in `folder`, unless there is one, and a certificate for every service with
 * its key: ca.pem, cache.pem, cache-key.pem and so on.
 */
export function makeCertificates(folder: string, options: { name?: string[] }): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = (name: string) => join(folder, name);
  const now = new Date();
  if (!existsSync(path("ca.pem"))) {
    const made = createAuthority(now);
    writeFileSync(path("ca-key.pem"), made.key, { mode: 0o600 });
    writeFileSync(path("ca.pem"), made.cert);
  }
  const authority = { cert: readFileSync(path("ca.pem"), "utf8"), key: readFileSync(path("ca-key.pem"), "utf8") };
  for (const service of SERVICES) {
    const issued = issueCertificate(authority, [service, "localhost", "127.0.0.1", "::1", ...(options.name ?? [])], now);
    writeFileSync(path(`${service}-key.pem`), issued.key, { mode: 0o600 });
    writeFileSync(path(`${service}.pem`), issued.cert);
  }
  process.stdout.write(`${folder} has certificates for ${SERVICES.join(", ")}. A service uses them by
  RAGENTS_TLS_CERT=${path("SERVICE.pem")} RAGENTS_TLS_KEY=${path("SERVICE-key.pem")} RAGENTS_TLS_CA=${path("ca.pem")}
`);
}
