import { parse } from "yaml";

/** Where Envoy finds one of its clusters. */
export interface Endpoint {
  /** A name, each of whose addresses is a replica, or an address. */
  readonly host: string;
  readonly port: number;
  /** Where its health is asked for, when that is another port. */
  readonly healthPort?: number | undefined;
}

/** What is different where Envoy runs from what the file says. */
export interface EdgePlace {
  /** Address and ports that Envoy listens on; the admin interface is on loopback always. */
  readonly listen: { readonly host: string; readonly edge: number; readonly probes: number; readonly admin: number };
  /** The clusters by their name in the file. */
  readonly endpoints: Readonly<Record<string, Endpoint>>;
  /** The transport socket of TLS (tls.yaml), with the path of the file that names the certificate. Default: in the clear. */
  readonly tls?: { readonly socket: string; readonly certificate: string } | undefined;
}

/** A file that tells Envoy's secret discovery which certificate to serve; a change in `folder` makes it read both again. */
export function certificateSecret(files: { folder: string; cert: string; key: string }): string {
  return JSON.stringify({
    resources: [
      {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        name: "edge",
        tls_certificate: {
          certificate_chain: { filename: files.cert },
          private_key: { filename: files.key },
          watched_directory: { path: files.folder },
        },
      },
    ],
  });
}

/**
 * Envoy's configuration for another place: the one file that says how the edge works, with addresses, ports and TLS of `place`.
 * @param source the text of envoy.yaml
 * @returns JSON, which Envoy reads as it reads YAML
 * @throws Error when the file has no such cluster
 */
export function edgeConfig(source: string, place: EdgePlace): string {
  // A copy without aliases: what is changed in one place must not change in all that share it.
  const config = JSON.parse(JSON.stringify(parse(source, { maxAliasCount: -1 }))) as Bootstrap;
  const { listeners, clusters } = config.static_resources;
  const { listen, endpoints, tls } = place;

  config.admin.address.socket_address.port_value = listen.admin;
  for (const listener of listeners) {
    const address = listener.address.socket_address;
    address.address = listen.host;
    address.port_value = listener.name === "edge" ? listen.edge : listen.probes;
    if (listener.name === "edge" && tls !== undefined) listener.filter_chains[0]!.transport_socket = tlsSocket(tls);
  }
  const unknown = Object.keys(endpoints).filter((name) => !clusters.some((cluster) => cluster.name === name));
  if (unknown.length > 0) throw new Error(`envoy.yaml has no cluster ${unknown.join(", ")}`);
  for (const { name, load_assignment: assignment } of clusters) {
    const endpoint = assignment.endpoints[0]!.lb_endpoints[0]!.endpoint;
    const { host, port, healthPort } = name === "admin" ? { host: "127.0.0.1", port: listen.admin } : (endpoints[name] ?? {});
    if (host === undefined || port === undefined) continue;
    endpoint.address.socket_address = { address: host, port_value: port };
    if (healthPort !== undefined) endpoint.health_check_config = { port_value: healthPort };
  }
  return JSON.stringify(config, null, 2);
}

function tlsSocket(tls: { socket: string; certificate: string }): unknown {
  const socket = parse(tls.socket) as TlsSocket;
  const [secret] = socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs;
  secret!.sds_config.path_config_source.path = tls.certificate;
  return socket;
}

interface SocketAddress {
  address: { socket_address: { address: string; port_value: number } };
}

interface Bootstrap {
  admin: SocketAddress;
  static_resources: {
    listeners: (SocketAddress & { name: string; filter_chains: { transport_socket?: unknown }[] })[];
    clusters: {
      name: string;
      load_assignment: {
        endpoints: { lb_endpoints: { endpoint: SocketAddress & { health_check_config?: { port_value: number } } }[] }[];
      };
    }[];
  };
}

interface TlsSocket {
  typed_config: { common_tls_context: { tls_certificate_sds_secret_configs: { sds_config: { path_config_source: { path: string } } }[] } };
}
