import { isIP } from "node:net";
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
  /**
   * The transport socket of TLS (tls.yaml), with the path of the file that names the certificate. Default: in the clear.
   * With `http3` the same is also served by HTTP/3, on the UDP port of the same number.
   */
  readonly tls?: { readonly socket: string; readonly certificate: string; readonly http3?: boolean } | undefined;
  /** Mutual TLS to what is behind. Default: in the clear. */
  readonly upstreamTls?: UpstreamTls | undefined;
}

/** How Envoy shows what is behind it that it is part of the mesh, and believes that they are. */
export interface UpstreamTls {
  /** The files (certificateSecret, authoritySecret) that name its certificate, and the authority of theirs. */
  readonly certificate: string;
  readonly authority: string;
  /** Which clusters are spoken to by TLS. */
  readonly clusters: readonly string[];
}

const SECRET = "edge";

/** A file that tells Envoy's secret discovery which certificate to show; a change in `folder` makes it read both again. */
export function certificateSecret(files: { folder: string; cert: string; key: string }): string {
  return secret({
    tls_certificate: {
      certificate_chain: { filename: files.cert },
      private_key: { filename: files.key },
      watched_directory: { path: files.folder },
    },
  });
}

/** The same for the authority whose certificates are believed. */
export function authoritySecret(files: { folder: string; ca: string }): string {
  return secret({ validation_context: { trusted_ca: { filename: files.ca }, watched_directory: { path: files.folder } } });
}

function secret(content: object): string {
  const type = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
  return JSON.stringify({ resources: [{ "@type": type, name: SECRET, ...content }] });
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
  if (tls?.http3 === true) listeners.push(http3Listener(listeners.find(({ name }) => name === "edge")!, listen.edge));
  const unknown = Object.keys(endpoints).filter((name) => !clusters.some((cluster) => cluster.name === name));
  if (unknown.length > 0) throw new Error(`envoy.yaml has no cluster ${unknown.join(", ")}`);
  for (const cluster of clusters) {
    const { name, load_assignment: assignment } = cluster;
    const endpoint = assignment.endpoints[0]!.lb_endpoints[0]!.endpoint;
    const { host, port, healthPort } = name === "admin" ? { host: "127.0.0.1", port: listen.admin } : (endpoints[name] ?? {});
    if (host === undefined || port === undefined) continue;
    endpoint.address.socket_address = { address: host, port_value: port };
    if (healthPort !== undefined) endpoint.health_check_config = { port_value: healthPort };
    if (place.upstreamTls?.clusters.includes(name) === true) speakTls(cluster, host, place.upstreamTls);
  }
  return JSON.stringify(config, null, 2);
}

function tlsSocket(tls: { socket: string; certificate: string }): unknown {
  const socket = parse(tls.socket) as TlsSocket;
  const [secret] = socket.typed_config.common_tls_context.tls_certificate_sds_secret_configs;
  secret!.sds_config.path_config_source.path = tls.certificate;
  return socket;
}

/** The same by HTTP/3, of which the answers by TCP tell the client. Changes `edge`. */
function http3Listener(edge: Listener, port: number): Listener {
  const listener = structuredClone(edge);
  const [chain] = listener.filter_chains as [FilterChain];
  const { common_tls_context: common } = (chain.transport_socket as TlsSocket).typed_config;
  listener.name = "edge-http3";
  listener.address.socket_address.protocol = "UDP";
  listener.udp_listener_config = { quic_options: {}, downstream_socket_config: { prefer_gro: true } };
  chain.transport_socket = {
    name: "envoy.transport_sockets.quic",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
      downstream_tls_context: {
        common_tls_context: { alpn_protocols: ["h3"], tls_certificate_sds_secret_configs: common.tls_certificate_sds_secret_configs },
      },
    },
  };
  Object.assign(chain.filters[0]!.typed_config, { codec_type: "HTTP3", http3_protocol_options: {} });
  const { route_config: routes } = edge.filter_chains[0]!.filters[0]!.typed_config;
  routes.response_headers_to_add = [{ header: { key: "alt-svc", value: `h3=":${port}"; ma=86400` } }];
  return listener;
}

const fromFile = (path: string) => ({ name: SECRET, sds_config: { path_config_source: { path }, resource_api_version: "V3" } });

/** Has Envoy show its certificate to a cluster, whose certificate must have its name, or be of its address. */
function speakTls(cluster: Cluster, host: string, { certificate, authority }: UpstreamTls): void {
  const isAddress = isIP(host) !== 0;
  const isGrpc = cluster.health_checks?.some((check) => "grpc_health_check" in check) === true;
  cluster.transport_socket = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      ...(!isAddress && { sni: host }),
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: "TLSv1_2", tls_maximum_protocol_version: "TLSv1_3" },
        alpn_protocols: [isGrpc ? "h2" : "http/1.1"],
        tls_certificate_sds_secret_configs: [fromFile(certificate)],
        combined_validation_context: {
          default_validation_context: { match_typed_subject_alt_names: [{ san_type: isAddress ? "IP_ADDRESS" : "DNS", matcher: { exact: host } }] },
          validation_context_sds_secret_config: fromFile(authority),
        },
      },
    },
  };
  if (isGrpc || cluster.health_checks === undefined) return;
  // Probes have a port of their own, in the clear.
  const inTheClear = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
  const socket = { name: "envoy.transport_sockets.raw_buffer", typed_config: { "@type": inTheClear } };
  cluster.transport_socket_matches = [{ name: "probes", match: { probes: true }, transport_socket: socket }];
  for (const check of cluster.health_checks) Object.assign(check, { transport_socket_match_criteria: { probes: true } });
}

interface SocketAddress {
  address: { socket_address: { address: string; port_value: number; protocol?: "UDP" } };
}

interface FilterChain {
  transport_socket?: unknown;
  filters: { typed_config: { route_config: { response_headers_to_add?: object[] } } }[];
}

interface Listener extends SocketAddress {
  name: string;
  filter_chains: FilterChain[];
  udp_listener_config?: object;
}

interface Cluster {
  name: string;
  load_assignment: {
    endpoints: { lb_endpoints: { endpoint: SocketAddress & { health_check_config?: { port_value: number } } }[] }[];
  };
  health_checks?: object[];
  transport_socket?: object;
  transport_socket_matches?: object[];
}

interface Bootstrap {
  admin: SocketAddress;
  static_resources: { listeners: Listener[]; clusters: Cluster[] };
}

interface TlsSocket {
  typed_config: { common_tls_context: { tls_certificate_sds_secret_configs: { sds_config: { path_config_source: { path: string } } }[] } };
}
