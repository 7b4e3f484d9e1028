import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTcp } from "node:net";
import { connect, type PeerCertificate } from "node:tls";
import { Code, createClient } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { createAuthority, issueCertificate, type IssuedCertificate } from "../runtime/tls/authority/authority.js";
import { GatewayService } from "../gen/ragents/gateway/v1/gateway_service_pb.js";
import { systemClock } from "../runtime/clock.js";
import { type GrpcServer, mount, startGrpcServer } from "../runtime/grpc-server.js";
import { createGrpcTransport, type GrpcTransport } from "../runtime/grpc-transport.js";
import { silentLogger } from "../runtime/logger.js";
import { createMetrics } from "../runtime/metrics.js";
import { serverInterceptors } from "../runtime/server-interceptors.js";
import { type CertificatePaths, type MutualTls, openMutualTls } from "../runtime/tls/certificate-files.js";
import { failureOf } from "./failure-of.js";

const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const authority = createAuthority(new Date());

/** Certificate files of one service. */
function files(issuedBy = authority, trusts = authority, names: [string, ...string[]] = ["127.0.0.1"]) {
  const folder = mkdtempSync(join(tmpdir(), "ragents-tls-"));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  const paths: CertificatePaths = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem"), ca: join(folder, "ca.pem") };
  const write = (own: IssuedCertificate) => {
    writeFileSync(paths.cert, own.cert);
    writeFileSync(paths.key, own.key);
  };
  write(issueCertificate(issuedBy, names, new Date()));
  writeFileSync(paths.ca, trusts.cert);
  return { paths, write };
}

async function tlsOf(paths: CertificatePaths): Promise<MutualTls> {
  const tls = await openMutualTls(paths, silentLogger);
  cleanUps.push(() => tls.close());
  return tls;
}

async function serve(paths: CertificatePaths): Promise<{ address: string; tls: MutualTls }> {
  const tls = await tlsOf(paths);
  const server: GrpcServer = await startGrpcServer({
    host: "127.0.0.1",
    port: 0,
    services: [mount(GatewayService, { getHealth: () => ({ status: "healthy" }) })],
    interceptors: serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock }),
    credentials: tls.server,
  });
  cleanUps.push(() => server.drain(0));
  return { address: server.address, tls };
}

function clientOf(address: string, tls?: MutualTls) {
  const transport: GrpcTransport = createGrpcTransport({ address, services: [], security: { credentials: tls?.channel }, defaultTimeoutMs: 5_000 });
  cleanUps.push(() => transport.close());
  return createClient(GatewayService, transport);
}

/** The certificate that a server shows to a client of the mesh. */
async function shownBy(address: string, { paths }: ReturnType<typeof files>): Promise<PeerCertificate> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host, port: Number(port), ca: readFileSync(paths.ca), cert: readFileSync(paths.cert), key: readFileSync(paths.key), ALPNProtocols: ["h2"] },
      () => {
        resolve(socket.getPeerCertificate());
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

describe("mutual TLS", () => {
  test("connects services whose certificates are of one authority", async () => {
    const { address } = await serve(files().paths);
    const client = clientOf(address, await tlsOf(files().paths));
    expect((await client.getHealth({})).status).toBe("healthy");
  });

  test.each([
    ["is in the clear", async () => undefined],
    ["shows a certificate of another authority", async () => tlsOf(files(createAuthority(new Date())).paths)],
  ])("refuses a client that %s", async (_, clientTls) => {
    const { address } = await serve(files().paths);
    expect((await failureOf(clientOf(address, await clientTls()).getHealth({}))).code).toBe(Code.Unavailable);
  });

  test("does not talk to a server of another authority", async () => {
    const other = createAuthority(new Date());
    const { address } = await serve(files(other, authority).paths);
    expect((await failureOf(clientOf(address, await tlsOf(files().paths)).getHealth({}))).code).toBe(Code.Unavailable);
  });

  test("does not talk to a server that goes by another name", async () => {
    const { address } = await serve(files(authority, authority, ["cache.mesh.svc"]).paths);
    expect((await failureOf(clientOf(address, await tlsOf(files().paths)).getHealth({}))).code).toBe(Code.Unavailable);
  });

  test("refuses TLS 1.1", async () => {
    const { address } = await serve(files().paths);
    const [host, port] = address.split(":") as [string, string];
    const refusal = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      const socket = connect({ socket: connectTcp(Number(port), host), ca: authority.cert, minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" });
      socket.on("error", resolve);
      socket.on("secureConnect", () => reject(new Error("it connected")));
    });
    expect(refusal.code).toMatch(/ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/);
  });

  test("uses a renewed certificate for new connections, without a restart", async () => {
    const own = files();
    const { address, tls } = await serve(own.paths);
    const before = await shownBy(address, files());
    own.write(issueCertificate(authority, ["127.0.0.1"], new Date()));
    await tls.reload();
    const after = await shownBy(address, files());
    expect(after.serialNumber).not.toBe(before.serialNumber);
    expect((await clientOf(address, await tlsOf(files().paths)).getHealth({})).status).toBe("healthy");
  });

  test("keeps the old certificate while the new one's key is missing", async () => {
    const own = files();
    const { address, tls } = await serve(own.paths);
    const before = await shownBy(address, files());
    writeFileSync(own.paths.cert, issueCertificate(authority, ["127.0.0.1"], new Date()).cert);
    await tls.reload();
    expect((await shownBy(address, files())).serialNumber).toBe(before.serialNumber);
  });

  test("says at the start which files do not fit", async () => {
    const mixed = files();
    writeFileSync(mixed.paths.key, issueCertificate(authority, ["a"], new Date()).key);
    await expect(openMutualTls(mixed.paths, silentLogger)).rejects.toThrow(/The key in .*key\.pem is not that of the certificate in .*cert\.pem/);
    const empty = files();
    writeFileSync(empty.paths.ca, "");
    await expect(openMutualTls(empty.paths, silentLogger)).rejects.toThrow(/ca\.pem holds no certificate/);
  });
});
