// The few pieces of ASN.1's distinguished encoding (X.690) that a certificate consists of.

/** A value with its tag and length in front. */
export function der(tag: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content.length)]), content]);
}

export const sequence = (...items: Uint8Array[]) => der(0x30, ...items);
export const set = (...items: Uint8Array[]) => der(0x31, ...items);
export const utf8 = (text: string) => der(0x0c, Buffer.from(text));
export const boolean = (value: boolean) => der(0x01, Buffer.from([value ? 0xff : 0]));
export const octets = (bytes: Uint8Array) => der(0x04, bytes);
/** Bits that fill whole bytes, but for the last `unused` ones. */
export const bits = (bytes: Uint8Array, unused = 0) => der(0x03, Buffer.from([unused]), bytes);
/** A tag of the context, e.g. [0]; constructed unless `primitive`. */
export const tagged = (number: number, content: Uint8Array, primitive = false) => der((primitive ? 0x80 : 0xa0) + number, content);

/** A number of any length, not negative, most significant byte first. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const significant = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  // A leading bit would make it negative.
  return der(0x02, ...(significant[0]! >= 0x80 ? [Buffer.from([0])] : []), significant);
}

/** An object identifier, e.g. "2.5.4.3". */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** A time as certificates write it: with two digits of the year until 2049. */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits));
}

function lengthOf(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes = [];
  for (let rest = length; rest > 0; rest >>= 8) bytes.unshift(rest & 0xff);
  return [0x80 + bytes.length, ...bytes];
}

function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
