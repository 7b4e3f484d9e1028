import { describe, expect, test } from "vitest";
import { addressKind } from "./addresses.js";

describe("an address", () => {
  test.each([
    ["8.8.8.8", "public"],
    ["172.15.255.255", "public"],
    ["172.32.0.1", "public"],
    ["100.63.255.255", "public"],
    ["100.128.0.1", "public"],
    ["2606:4700:4700::1111", "public"],
    ["10.1.2.3", "private"],
    ["172.16.0.1", "private"],
    ["192.168.1.1", "private"],
    ["127.0.0.1", "private"],
    ["127.255.255.254", "private"],
    ["100.64.0.1", "private"],
    ["::1", "private"],
    ["fd12:3456::1", "private"],
  ])("%s is %s", (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  test.each([
    ["this machine, unspecified", "0.0.0.0"],
    ["the same in IPv6", "::"],
    ["link-local", "169.254.1.1"],
    ["a cloud's metadata", "169.254.169.254"],
    ["Azure's, in public space", "168.63.129.16"],
    ["Alibaba's, in shared space", "100.100.100.200"],
    ["Amazon's in IPv6, in private space", "fd00:ec2::254"],
    ["link-local in IPv6", "fe80::1"],
    ["with a zone", "fe80::1%eth0"],
    ["site-local in IPv6", "fec0::1"],
    ["multicast", "224.0.0.1"],
    ["multicast in IPv6", "ff02::1"],
    ["broadcast", "255.255.255.255"],
    ["reserved", "240.0.0.1"],
    ["for benchmarks", "198.18.0.1"],
    ["for documentation", "203.0.113.5"],
    ["for documentation in IPv6", "2001:db8::1"],
    ["IPv4 mapped into IPv6", "::ffff:127.0.0.1"],
    ["the same in hexadecimal", "::ffff:7f00:1"],
    ["a public one mapped", "::ffff:8.8.8.8"],
    ["IPv4-compatible", "::7f00:1"],
    ["IPv4 behind NAT64", "64:ff9b::7f00:1"],
    ["IPv4 in 6to4", "2002:7f00:1::1"],
    ["IPv4 in Teredo", "2001:0:7f00:1::1"],
    ["no address", "localhost"],
    ["a number", "2130706433"],
  ])("that is %s is forbidden to everybody", (_, address) => {
    expect(addressKind(address)).toBe("forbidden");
  });
});
