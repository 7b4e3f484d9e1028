import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join, posix, resolve, sep } from "node:path";
import { type Job, JobState } from "../gen/ragents/rag/v1/rag_pb.js";
import { type UploadSource, uploadFiles } from "../clients/rag/index.js";
import { isDocumentName } from "../runtime/document-types.js";
import type { Mesh } from "./connection.js";
import { jobJson, progressBar, watchToEnd } from "./job-progress.js";

/** A file to upload. */
interface LocalFile {
  path: string;
  documentId: string;
  bytes: number;
}

/** Bytes a message of the upload carries. */
const PART_BYTES = 512 * 1024;

/** Uploads files and folders as one job, has the mesh fetch URLs in another, and watches each to its end. Exit code 1 when documents failed. */
export async function ingest({ rag }: Mesh, given: string[], options: { collection: string; json?: boolean }): Promise<void> {
  const urls = given.filter(isUrl);
  const paths = given.filter((one) => !isUrl(one));
  if (paths.length > 0) await upload(rag, paths, options);
  if (urls.length === 0) return;
  const { job } = await rag.ingestDocuments({ collection: options.collection, urls });
  await seeThrough(rag, job!, { documents: urls.length, leftOut: 0, quiet: options.json === true });
}

function isUrl(given: string): boolean {
  return /^https?:\/\//i.test(given);
}

async function upload(rag: Mesh["rag"], paths: string[], options: { collection: string; json?: boolean }): Promise<void> {
  const quiet = options.json === true;
  const { files, leftOut } = await collect(paths);
  if (files.length === 0) throw new Error(`Nothing to ingest in ${paths.join(", ")}: no file of a known type.`);
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);

  const sending = progressBar("Uploading ", quiet, "MB");
  sending?.start(megabytes(total), 0);
  const started = await uploadFiles(rag, files.map(source), {
    collection: options.collection,
    onProgress: (sent) => sending?.update(megabytes(sent)),
  });
  sending?.update(megabytes(total));
  sending?.stop();
  await seeThrough(rag, started, { documents: files.length, leftOut, quiet });
}

/** Watches a job to its end, and tells what came of it. */
async function seeThrough(rag: Mesh["rag"], started: Job, { documents, leftOut, quiet }: { documents: number; leftOut: number; quiet: boolean }): Promise<void> {
  const working = progressBar("Ingesting ", quiet, "documents");
  working?.start(documents, 0);
  const job = await watchToEnd(rag, started, ({ totalDocuments, doneDocuments }) => {
    working?.setTotal(Number(totalDocuments) || documents);
    working?.update(Number(doneDocuments));
  });
  working?.stop();

  if (job.state !== JobState.SUCCEEDED || job.failedDocuments > 0n) process.exitCode = 1;
  if (quiet) {
    process.stdout.write(jobJson(job));
  } else {
    process.stdout.write(summary(job, leftOut));
  }
}

/** All files of known types at and below the paths; hidden entries and links out of a folder are left out. */
async function collect(paths: string[]): Promise<{ files: LocalFile[]; leftOut: number }> {
  const files: LocalFile[] = [];
  let leftOut = 0;
  async function walk(folder: string, root: string, prefix: string): Promise<void> {
    const entries = await readdir(folder, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      const path = join(folder, entry.name);
      const id = posix.join(prefix, entry.name);
      if (entry.isDirectory()) await walk(path, root, id);
      else if (entry.isSymbolicLink() && !(await pointsInto(path, root))) leftOut += 1;
      else await add(path, id);
    }
  }
  async function add(path: string, documentId: string): Promise<void> {
    const info = await stat(path).catch(() => undefined);
    if (info?.isFile() !== true || !isDocumentName(path)) leftOut += 1;
    else files.push({ path, documentId, bytes: info.size });
  }
  for (const given of paths) {
    const path = resolve(given);
    const info = await stat(path).catch(() => {
      throw new Error(`${given} does not exist or cannot be read.`);
    });
    // A file that was named is sent whatever its type: the mesh says what is wrong with it.
    if (info.isFile()) files.push({ path, documentId: basename(path), bytes: info.size });
    else await walk(path, await realpath(path), basename(path));
  }
  return { files, leftOut };
}

async function pointsInto(link: string, root: string): Promise<boolean> {
  const target = await realpath(link).catch(() => undefined);
  return target?.startsWith(root + sep) === true;
}

function source({ path, documentId }: LocalFile): UploadSource {
  return { documentId, content: () => createReadStream(path, { highWaterMark: PART_BYTES }) };
}

function summary(job: Job, leftOut: number): string {
  const ingested = job.doneDocuments - job.skippedDocuments - job.failedDocuments;
  const lines = [
    `${JobState[job.state]}: ${ingested} documents ingested in ${job.chunks} chunks, ${job.skippedDocuments} unchanged, ${job.failedDocuments} failed.`,
  ];
  if (leftOut > 0) lines.push(`${leftOut} files of other types were left out.`);
  for (const { documentId, reason, message } of job.failures) lines.push(`  ${documentId}: ${reason}: ${message}`);
  return `${lines.join("\n")}\n`;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}
