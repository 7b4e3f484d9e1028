import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PGlite } from "@electric-sql/pglite";

const require = createRequire(import.meta.url);

/**
 * Opens the database of a folder, or a new one in memory. A new one is unpacked from an empty one that was made before, which
 * takes a third of the time of making it; a folder is complete or not there, whatever ends this process.
 */
export async function openDatabase(folder: string | undefined): Promise<PGlite> {
  if (folder === undefined) return PGlite.create({ loadDataDir: await emptyDatabase() });
  if (!(await exists(join(folder, "PG_VERSION")))) await unpackInto(folder);
  return PGlite.create({ dataDir: folder });
}

async function unpackInto(folder: string): Promise<void> {
  const unfinished = `${folder}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(dirname(folder), { recursive: true });
  const db = await PGlite.create({ dataDir: unfinished, loadDataDir: await emptyDatabase() });
  await db.close();
  await rename(unfinished, folder);
}

/** An empty database as a tar archive, kept beside the engine for the next time. */
async function emptyDatabase(): Promise<Blob> {
  const file = templateFile();
  const kept = await readFile(file).catch(() => undefined);
  if (kept !== undefined) return new Blob([kept]);
  const db = await PGlite.create();
  const archive = await db.dumpDataDir("none");
  await db.close();
  // Where the packages may not be written to it is made each time.
  await keep(file, Buffer.from(await archive.arrayBuffer())).catch(() => {});
  return archive;
}

async function keep(file: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const unfinished = `${file}.${process.pid}`;
  await writeFile(unfinished, bytes);
  await rename(unfinished, file);
}

function templateFile(): string {
  const entry = require.resolve("@electric-sql/pglite");
  const name = join("node_modules", "@electric-sql", "pglite");
  const root = entry.slice(0, entry.lastIndexOf(name) + name.length);
  const { version } = require(join(root, "package.json")) as { version: string };
  return join(root, "..", "..", ".cache", "ragents-mesh", `pglite-${version}.tar`);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
