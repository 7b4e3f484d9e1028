import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { SingleBar } from "cli-progress";
import { type Job, JobSchema, JobState } from "../gen/ragents/rag/v1/rag_pb.js";
import type { Mesh } from "./connection.js";

/** How long a mesh that cannot be reached is tried again, in milliseconds. */
const RECONNECT_MS = 60_000;
const ENDED = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED];

/** Follows a job until it has ended. The job goes on without its watcher, so a broken connection is made again, for a minute. */
export async function watchToEnd(rag: Mesh["rag"], started: Job, onProgress: (job: Job) => void): Promise<Job> {
  let job = started;
  for (let giveUpAt = Date.now() + RECONNECT_MS; !ENDED.includes(job.state); ) {
    try {
      for await (const update of rag.watchJob({ job: job.id })) {
        job = update.job ?? job;
        giveUpAt = Date.now() + RECONNECT_MS;
        onProgress(job);
      }
    } catch (error) {
      const broken = error instanceof ConnectError && [Code.Unavailable, Code.Aborted, Code.Unknown, Code.DeadlineExceeded].includes(error.code);
      if (!broken || Date.now() > giveUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  return job;
}

/** A bar on stderr; undefined when nothing is to be shown. */
export function progressBar(title: string, quiet: boolean, unit: string): SingleBar | undefined {
  if (quiet) return undefined;
  return new SingleBar({
    format: `${title} {bar} {value}/{total} ${unit}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    hideCursor: true,
    // Where nobody watches, one line at the end is enough.
    noTTYOutput: false,
    stream: process.stderr,
  });
}

/** The job as JSON, for programs. */
export function jobJson(job: Job): string {
  return `${JSON.stringify(toJson(JobSchema, job, { useProtoFieldName: true, alwaysEmitImplicit: true }), null, 2)}\n`;
}
