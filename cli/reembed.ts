import { JobState } from "../gen/ragents/rag/v1/rag_pb.js";
import type { Mesh } from "./connection.js";
import { jobJson, progressBar, watchToEnd } from "./job-progress.js";

export interface ReembedOptions {
  readonly model: string;
  readonly json?: boolean;
}

/** Gives a collection another embedding model and watches the job to its end. Exit code 1 unless the collection has the model. */
export async function reembed({ rag }: Mesh, collection: string, { model, json = false }: ReembedOptions): Promise<void> {
  const { job: started } = await rag.reembedCollection({ collection, embeddingModel: model });
  const working = progressBar("Embedding ", json, "chunks");
  working?.start(Number(started!.totalChunks), 0);
  const job = await watchToEnd(rag, started!, ({ totalChunks, chunks }) => {
    working?.setTotal(Number(totalChunks));
    working?.update(Number(chunks));
  });
  working?.stop();
  if (job.state !== JobState.SUCCEEDED) process.exitCode = 1;
  process.stdout.write(json ? jobJson(job) : `${summary(collection, model, job)}\n`);
}

function summary(collection: string, model: string, { state, chunks, failures }: Awaited<ReturnType<typeof watchToEnd>>): string {
  if (state === JobState.SUCCEEDED) return `SUCCEEDED: ${collection} is searched by ${model}, ${chunks} chunks.`;
  const why = failures.map(({ reason, message }) => ` ${reason}: ${message}`).join("");
  return `${JobState[state]}: ${collection} keeps the model that it had.${why}`;
}
