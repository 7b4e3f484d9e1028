import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { PemFiles } from "../runtime/tls/certificate-files.js";

/**
 * An HTTP server; with certificates one that speaks TLS, and only to clients that have a certificate of the same authority. Connections that
 * are made after the files have changed use what they hold then.
 */
export function createHttpServer(limits: ServerOptions, certificates: PemFiles | undefined, handle: RequestListener): Server {
  if (certificates === undefined) return createServer(limits, handle);
  const tls = { requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2" } as const;
  const server = createTlsServer({ ...limits, ...tls, ...certificates.current() }, handle);
  certificates.onChange((latest) => server.setSecureContext({ ...tls, ...latest }));
  // Of the members of its own class a TLS server lacks none that we use.
  return server as unknown as Server;
}
