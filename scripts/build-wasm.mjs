// Makes services/rag/index/dot-kernel-wasm.ts of dot-kernel.wat. With --check it only says whether that is up to date.
import { readFileSync, writeFileSync } from "node:fs";
import wabt from "wabt";

const folder = new URL("../services/rag/index/", import.meta.url);
const target = new URL("dot-kernel-wasm.ts", folder);
const tools = await wabt();
const module = tools.parseWat("dot-kernel.wat", readFileSync(new URL("dot-kernel.wat", folder), "utf8"), { simd: true });
module.validate();
const base64 = Buffer.from(module.toBinary({}).buffer).toString("base64");
const source = `// Made from dot-kernel.wat by scripts/build-wasm.mjs; change that file and run the script.
export const dotKernelWasm = Uint8Array.from(
  Buffer.from(
${base64.match(/.{1,100}/g).map((line) => `    "${line}"`).join(" +\n")},
    "base64",
  ),
);
`;

if (!process.argv.includes("--check")) {
  writeFileSync(target, source);
} else if (readFileSync(target, "utf8") !== source) {
  console.error("dot-kernel-wasm.ts is not what dot-kernel.wat makes; run node scripts/build-wasm.mjs.");
  process.exitCode = 1;
}
