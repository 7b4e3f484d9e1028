import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

/** A name server for tests, on loopback. */
export interface DnsServer {
  readonly port: number;
  /** What the name has from now on: IPv4 addresses. */
  set(name: string, addresses: readonly string[]): void;
  stop(): void;
}

const A = 1;
const NAME_ERROR = 3;

/** Starts a name server that knows the names that it was given, and no others. */
export async function startDns(): Promise<DnsServer> {
  const names = new Map<string, readonly string[]>();
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, type, end } = questionOf(query);
    const known = names.get(name);
    const addresses = type === A ? (known ?? []) : [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8400 | (known === undefined ? NAME_ERROR : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    // Each answer: a pointer to the question's name, type A, class IN, a second to live, four bytes.
    const answers = addresses.map((address) => Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split(".").map(Number)]));
    socket.send(Buffer.concat([header, query.subarray(12, end), ...answers]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: (socket.address() as AddressInfo).port,
    set: (name, addresses) => void names.set(name, addresses),
    stop: () => socket.close(),
  };
}

/** What makes an Envoy ask this name server alone: `typed_dns_resolver_config` of its configuration. */
export function envoyResolver(port: number) {
  return {
    name: "envoy.network.dns_resolver.cares",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
      resolvers: [{ socket_address: { address: "127.0.0.1", port_value: port } }],
      dns_resolver_options: { no_default_search_domain: true },
    },
  };
}

/** The name and type that a query asks for, and where the question ends. */
function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}
