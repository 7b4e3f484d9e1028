import { cpSync, existsSync, mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { packageRoot } from "../../runtime/package-root.js";

const LEFT_OUT = new Set([".git", "node_modules", "dist", ".ragents", "coverage"]);

/** A copy of this checkout as a fresh clone would be, but for the dependencies, which are lent. */
export function copyCheckout(): string {
  const folder = join(mkdtempSync(join(tmpdir(), "ragents-clone-")), "ragents-mesh");
  cpSync(packageRoot, folder, { recursive: true, filter: (source) => source === packageRoot || !LEFT_OUT.has(basename(source)) });
  if (!existsSync(join(folder, "node_modules"))) symlinkSync(join(packageRoot, "node_modules"), join(folder, "node_modules"));
  return folder;
}
