import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { ErrorReason } from "../../../gen/ragents/errors/v1/errors_pb.js";
import { ConfigError } from "../../../runtime/config.js";
import { invalidField } from "../../../runtime/errors.js";
import { isDocumentName } from "../../../runtime/document-types.js";
import type { NewJob } from "../store/store.js";

/** A folder that the server may ingest from. */
export interface AllowedFolder {
  /** Absolute, without links. */
  readonly path: string;
  /** In front of the ids of its documents; empty while it is the only one. */
  readonly idPrefix: string;
}

/** A path inside an allowed folder, resolved. */
export type AllowedPath = NonNullable<NewJob["path"]>;

export interface FoundFile {
  /** Absolute, without links. */
  readonly file: string;
  /** The path below the allowed folder, with "/" between its parts. */
  readonly documentId: string;
  readonly sizeBytes: number;
}

/** Folders that programs fill: what is in them is nobody's document. */
const PASSED_OVER = new Set(["node_modules", "__pycache__"]);

/** Resolves configured folders. Throws ConfigError for one that is not there. */
export async function openAllowedFolders(paths: readonly string[]): Promise<AllowedFolder[]> {
  const real = await Promise.all(
    paths.map(async (path) => {
      const found = await realpath(path).catch(() => undefined);
      if (found !== undefined && (await stat(found)).isDirectory()) return found;
      throw new ConfigError(`The configuration is wrong:\n  RAGENTS_INGEST_ROOTS: there is no folder ${path}`);
    }),
  );
  const names = real.map((path) => basename(path));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ConfigError(
      `The configuration is wrong:\n  RAGENTS_INGEST_ROOTS: two folders are named ${twice}; documents' ids begin with that name`,
    );
  }
  return real.map((path, i) => ({ path, idPrefix: real.length === 1 || names[i] === "" ? "" : `${names[i]}/` }));
}

/**
 * The path that a caller named, if the server may read it: after all links it is inside an allowed folder, and nothing below
 * that is hidden. Whether a path outside exists is not told.
 */
export async function resolveAllowed(folders: readonly AllowedFolder[], given: string): Promise<AllowedPath> {
  const first = folders[0];
  const target = first && (await realpath(isAbsolute(given) ? resolve(given) : join(first.path, given)).catch(() => undefined));
  const folder = target === undefined ? undefined : folders.find(({ path }) => isInside(path, target));
  if (target === undefined || folder === undefined || relative(folder.path, target).split(sep).some(isHidden)) {
    throw invalidField(
      "path",
      "is not a readable file or folder inside those that the server may ingest from (RAGENTS_INGEST_ROOTS)",
      ErrorReason.PATH_NOT_ALLOWED,
    );
  }
  return { root: folder.path, target, idPrefix: folder.idPrefix };
}

/** What the ids of all documents of a folder begin with. Throws INVALID_ARGUMENT for a path that is no folder. */
export async function folderPrefix(path: AllowedPath): Promise<string> {
  if (!(await stat(path.target)).isDirectory()) throw invalidField("sync", "needs the path of a folder");
  return path.target === path.root ? path.idPrefix : `${idOf(path, path.target)}/`;
}

/**
 * The files of an allowed path, in the order of their names. A file that was named itself comes whatever its type; of a folder
 * those that can be read as documents, without what is hidden and without links that lead out of the allowed folder.
 * `onIgnored` is called for each file of another type. A folder that cannot be read comes as a file whose id ends in "/".
 * Throws when the path itself is there no more.
 */
export async function* findFiles(path: AllowedPath, onIgnored: () => void): AsyncGenerator<FoundFile> {
  const found = await stat(path.target);
  if (found.isDirectory()) yield* walk(path, { place: path.target, real: path.target }, new Set([path.target]), onIgnored);
  else if (found.isFile()) yield foundFile(path, path.target, path.target, found.size);
}

/** A folder by the name it was found under, and where it really is. */
interface Folder {
  place: string;
  real: string;
}

async function* walk(path: AllowedPath, folder: Folder, visited: Set<string>, onIgnored: () => void): AsyncGenerator<FoundFile> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder.real, { withFileTypes: true });
  } catch {
    // As a document that fails it is told to the caller, and what stood below it is not taken for removed.
    yield { file: folder.real, documentId: `${idOf(path, folder.place)}/`, sizeBytes: 0 };
    return;
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (isHidden(entry.name) || PASSED_OVER.has(entry.name)) continue;
    const place = join(folder.place, entry.name);
    const inside = join(folder.real, entry.name);
    const file = entry.isSymbolicLink() ? await realpath(inside).catch(() => undefined) : inside;
    if (file === undefined || !isInside(path.root, file) || relative(path.root, file).split(sep).some(isHidden)) continue;
    const found = await stat(file).catch(() => undefined);
    if (found?.isDirectory() === true) {
      // A link to a folder above would be walked for ever.
      if (visited.has(file)) continue;
      visited.add(file);
      yield* walk(path, { place, real: file }, visited, onIgnored);
    } else if (found?.isFile() === true) {
      if (isDocumentName(entry.name)) yield foundFile(path, place, file, found.size);
      else onIgnored();
    }
  }
}

function foundFile(path: AllowedPath, place: string, file: string, sizeBytes: number): FoundFile {
  return { file, documentId: idOf(path, place), sizeBytes };
}

function idOf(path: AllowedPath, place: string): string {
  return path.idPrefix + relative(path.root, place).split(sep).join("/");
}

function isHidden(name: string): boolean {
  return name.startsWith(".");
}

function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
