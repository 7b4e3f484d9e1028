/** What stands at 0x80 to 0x9f; "" for the five bytes that stand for nothing. Everything else is as in Latin-1. */
const WINDOWS_ONLY = [
  ..."€", "", ..."‚ƒ„…†‡ˆ‰Š‹Œ", "", ..."Ž", "",
  "", ..."‘’“”•–—˜™š›œ", "", ..."žŸ",
];

/** The place of the first byte that stands for nothing in windows-1252, or -1. */
export function undefinedIn1252(bytes: Uint8Array): number {
  return bytes.findIndex((byte) => byte >= 0x80 && byte <= 0x9f && WINDOWS_ONLY[byte - 0x80] === "");
}

/** Characters of windows-1252, of which ISO 8859-1 is a part. By a table: some versions of Node decode 0x80 to 0x9f as Latin-1. */
export function decode1252(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  return latin1.replace(/[\x80-\x9f]/g, (character) => WINDOWS_ONLY[character.charCodeAt(0) - 0x80]!);
}
