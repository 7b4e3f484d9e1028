import { X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { createAuthority, issueCertificate } from "./authority.js";

const now = new Date("2026-11-20T12:00:00Z");

test("an authority's certificate is a CA's, signed by itself, for ten years", () => {
  const { cert } = createAuthority(now);
  const parsed = new X509Certificate(cert);
  expect(parsed.ca).toBe(true);
  expect(parsed.verify(parsed.publicKey)).toBe(true);
  expect(new Date(parsed.validFrom).toISOString()).toBe("2026-11-20T11:00:00.000Z");
  expect(new Date(parsed.validTo).toISOString()).toBe("2036-11-17T12:00:00.000Z");
});

test("an issued certificate is the authority's, goes by its names, and is no CA's", () => {
  const authority = createAuthority(now);
  const issued = issueCertificate(authority, ["cache", "cache.mesh.svc", "127.0.0.1", "::1", "2001:db8::ff00:42"], now);
  const ca = new X509Certificate(authority.cert);
  const parsed = new X509Certificate(issued.cert);
  expect(parsed.checkIssued(ca)).toBe(true);
  expect(parsed.verify(ca.publicKey)).toBe(true);
  expect(parsed.ca).toBe(false);
  expect(parsed.subject).toBe("CN=cache");
  expect(parsed.subjectAltName).toBe("DNS:cache, DNS:cache.mesh.svc, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:FF00:42");
  expect(parsed.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
  expect(parsed.checkHost("cache.mesh.svc")).toBe("cache.mesh.svc");
  expect(parsed.checkIP("127.0.0.1")).toBe("127.0.0.1");
});

test("a time after 2049 is written with four digits of the year", () => {
  const parsed = new X509Certificate(createAuthority(new Date("2045-01-01T00:00:00Z")).cert);
  expect(new Date(parsed.validTo).toISOString()).toBe("2054-12-30T00:00:00.000Z");
});

test("two certificates have serial numbers of their own", () => {
  const serials = Array.from({ length: 20 }, () => new X509Certificate(createAuthority(now).cert).serialNumber);
  expect(new Set(serials).size).toBe(20);
});

test("an authority whose key is another's issues nothing", () => {
  const mixed = { cert: createAuthority(now).cert, key: createAuthority(now).key };
  expect(() => issueCertificate(mixed, ["cache"], now)).toThrow("the authority's key is not that of its certificate");
});
