import { BlockList, isIP } from "node:net";

/**
 * What an IP address leads to: everybody's internet; networks of the operator's own, where an operator may allow hosts by name; or
 * what no document is fetched from, whoever asks: metadata of clouds, multicast, what is reserved or hides another address.
 */
export type AddressKind = "public" | "private" | "forbidden";

/** Forbidden though they lie in networks that are not: where clouds tell a machine its secrets. */
const METADATA = ["168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"];

const PRIVATE_NETWORKS = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"];

/** By the registries of special-purpose addresses, RFC 6890 and its updates. */
const FORBIDDEN_IPV4 = [
  "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
  "224.0.0.0/4", "240.0.0.0/4",
];
/** Inside 2000::/3, which is all of IPv6 that is public: IPv4 in IPv6 (::ffff:0:0/96, 64:ff9b::/96) and link-local are outside of it. */
const FORBIDDEN_IPV6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];
const PUBLIC_IPV6 = ["2000::/3"];

const metadata = listOf(METADATA.map((address) => `${address}/${isIP(address) === 4 ? 32 : 128}`));
const privateNetworks = listOf(PRIVATE_NETWORKS);
const forbidden = listOf([...FORBIDDEN_IPV4, ...FORBIDDEN_IPV6]);
const publicIpv6 = listOf(PUBLIC_IPV6);

/** What kind of address it is; "forbidden" for what is none. */
export function addressKind(address: string): AddressKind {
  const version = isIP(address);
  // A zone names an interface of this machine.
  if (version === 0 || address.includes("%")) return "forbidden";
  const family = version === 4 ? "ipv4" : "ipv6";
  // BlockList looks through IPv4-mapped addresses; nobody who means well writes them.
  if (family === "ipv6" && /^::ffff:|\./i.test(address)) return "forbidden";
  if (metadata.check(address, family) || forbidden.check(address, family)) return "forbidden";
  if (privateNetworks.check(address, family)) return "private";
  return family === "ipv4" || publicIpv6.check(address, family) ? "public" : "forbidden";
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split("/") as [string, string];
    list.addSubnet(address, Number(bits), isIP(address) === 4 ? "ipv4" : "ipv6");
  }
  return list;
}
