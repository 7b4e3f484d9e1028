import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { bits, boolean, integer, octets, oid, sequence, set, tagged, time, utf8 } from "./der.js";

/** A certificate and its private key, in PEM. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 24 * 3_600_000;
const CA_LIFETIME_MS = 3_650 * DAY_MS;
/** Some clients refuse certificates that live longer. */
const CERTIFICATE_LIFETIME_MS = 397 * DAY_MS;
/** Clocks of other machines may be behind. */
const BACKDATED_MS = 3_600_000;

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const CA_NAME = "RAGents Mesh local CA";

/** A certificate authority of one's own: P-256, for ten years. Whoever has its key can pass for every service. */
export function createAuthority(now: Date): IssuedCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const cert = certificate({
    subject: CA_NAME,
    issuer: CA_NAME,
    publicKey,
    signer: privateKey,
    from: new Date(now.getTime() - BACKDATED_MS),
    to: new Date(now.getTime() + CA_LIFETIME_MS),
    extensions: [
      extension("2.5.29.19", true, sequence(boolean(true), integer(Buffer.from([0])))), // basicConstraints: a CA of leaves
      extension("2.5.29.15", true, bits(Buffer.from([0b0000_0110]), 1)), // keyUsage: keyCertSign, cRLSign
      extension("2.5.29.14", false, octets(keyId(publicKey))), // subjectKeyIdentifier
    ],
  });
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/**
 * A certificate for servers and clients that go by `names`, host names and addresses, the first one its subject; for 397 days.
 * @throws Error when `authority` is not a certificate and its key
 */
export function issueCertificate(authority: IssuedCertificate, names: readonly [string, ...string[]], now: Date): IssuedCertificate {
  const caKey = createPrivateKey(authority.key);
  const ca = new X509Certificate(authority.cert);
  if (!ca.checkPrivateKey(caKey)) throw new Error("the authority's key is not that of its certificate");
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const cert = certificate({
    subject: names[0].slice(0, 64),
    issuer: CA_NAME,
    publicKey,
    signer: caKey,
    from: new Date(now.getTime() - BACKDATED_MS),
    to: new Date(now.getTime() + CERTIFICATE_LIFETIME_MS),
    extensions: [
      extension("2.5.29.19", true, sequence()), // basicConstraints: not a CA
      extension("2.5.29.15", true, bits(Buffer.from([0b1000_0000]), 7)), // keyUsage: digitalSignature
      extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2"))), // serverAuth, clientAuth
      extension("2.5.29.17", false, sequence(...names.map(alternativeName))),
      extension("2.5.29.14", false, octets(keyId(publicKey))), // subjectKeyIdentifier
      extension("2.5.29.35", false, sequence(tagged(0, keyId(ca.publicKey), true))), // authorityKeyIdentifier
    ],
  });
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** An X.509 certificate (RFC 5280) in PEM. */
function certificate(fields: {
  subject: string;
  issuer: string;
  publicKey: KeyObject;
  signer: KeyObject;
  from: Date;
  to: Date;
  extensions: Buffer[];
}): string {
  const body = sequence(
    tagged(0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    name(fields.issuer),
    sequence(time(fields.from), time(fields.to)),
    name(fields.subject),
    fields.publicKey.export({ type: "spki", format: "der" }),
    tagged(3, sequence(...fields.extensions)),
  );
  const whole = sequence(body, ECDSA_WITH_SHA256, bits(sign("sha256", body, fields.signer)));
  return `-----BEGIN CERTIFICATE-----\n${whole.toString("base64").match(/.{1,64}/g)!.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function name(commonName: string): Buffer {
  return sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function alternativeName(hostOrAddress: string): Buffer {
  const version = isIP(hostOrAddress);
  if (version === 0) return tagged(2, Buffer.from(hostOrAddress, "ascii"), true);
  return tagged(7, version === 4 ? Buffer.from(hostOrAddress.split(".").map(Number)) : ipv6Bytes(hostOrAddress), true);
}

function ipv6Bytes(address: string): Buffer {
  const [head = "", tail] = address.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const all = [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Names a key by its hash, as RFC 5280 suggests. */
function keyId(publicKey: KeyObject): Buffer {
  return createHash("sha1").update(publicKey.export({ type: "spki", format: "der" })).digest();
}
