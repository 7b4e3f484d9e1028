import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../runtime/package-root.js";

/** Which folders a folder may import from. Tests and benchmarks may import anything. */
const MAY_IMPORT: Record<string, string[]> = {
  gen: ["gen"],
  runtime: ["gen", "runtime"],
  clients: ["gen", "runtime", "clients"],
  "services/cache": ["gen", "runtime", "clients", "services/cache"],
  "services/checkpoint": ["gen", "runtime", "clients", "services/checkpoint"],
  "services/ratelimit": ["gen", "runtime", "clients", "services/ratelimit"],
  "services/rag": ["gen", "runtime", "clients", "services/rag"],
  "services/agent": ["gen", "runtime", "clients", "services/agent"],
  "gateway/transcoder": ["gen/google", "gen/buf", "gateway/transcoder"],
  "gateway/openapi": ["gen/google", "gen/buf", "gateway/transcoder", "gateway/openapi"],
  gateway: ["gen", "runtime", "clients", "gateway"],
  cli: ["gen", "runtime", "clients", "cli"],
  launcher: ["gen", "runtime", "services", "gateway", "launcher"],
};

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sources(path);
    return /\.ts$/.test(name) && !/\.(test|suite)\.ts$/.test(name) && !path.includes("/testdata/") ? [path] : [];
  });
}

const within = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);

/** The most specific folder of the table that a file is in. */
function ownerOf(file: string): string | undefined {
  return Object.keys(MAY_IMPORT)
    .filter((folder) => within(file, folder))
    .sort((a, b) => b.length - a.length)[0];
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(packageRoot, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, specifier]) =>
    relative(packageRoot, resolve(packageRoot, dirname(file), specifier!)),
  );
}

const files = ["gen", "runtime", "clients", "services", "gateway", "cli", "launcher"]
  .flatMap((folder) => sources(join(packageRoot, folder)))
  .map((path) => relative(packageRoot, path));

describe("imports", () => {
  test("every source file is in a folder whose dependencies are stated", () => {
    expect(files.length).toBeGreaterThan(100);
    expect(files.filter((file) => ownerOf(file) === undefined)).toEqual([]);
  });

  test("point the right way", () => {
    const wrong = files.flatMap((file) => {
      const allowed = MAY_IMPORT[ownerOf(file) ?? ""] ?? [];
      return importsOf(file)
        .filter((target) => !allowed.some((folder) => within(target, folder)))
        .map((target) => `${file} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  test("name their file, ending in .js, so that the built program resolves them", () => {
    const bare = files.flatMap((file) => importsOf(file).filter((target) => !/\.(js|json|mjs)$/.test(target)).map((target) => `${file}: ${target}`));
    expect(bare).toEqual([]);
  });
});
