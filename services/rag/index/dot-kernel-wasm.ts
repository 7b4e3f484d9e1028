// Made from dot-kernel.wat by scripts/build-wasm.mjs; change that file and run the script.
export const dotKernelWasm = Uint8Array.from(
  Buffer.from(
    "AGFzbQEAAAABCQFgBX9/f39/AAMCAQAFAwEAAgcRAgZtZW1vcnkCAARkb3RzAAAKxQEBwgECA38CeyAEIAFBAnRqIQUCQANAIAQg" +
    "BU8NAf0MAAAAAAAAAAAAAAAAAAAAACEI/QwAAAAAAAAAAAAAAAAAAAAAIQkgAyEHIAAgAmohBgNAIAggAP0BAwAgB/0ABAD9ugH9" +
    "rgEhCCAJIAD9AQMIIAf9AAQQ/boB/a4BIQkgB0EgaiEHIABBEGohACAAIAZJDQALIAggCf2uASEIIAQgCP0bACAI/RsBaiAI/RsC" +
    "IAj9GwNqajYCACAEQQRqIQQMAAsLCw==",
    "base64",
  ),
);
