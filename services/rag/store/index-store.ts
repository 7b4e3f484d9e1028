import type { JsonObject } from "@bufbuild/protobuf";
import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { idsOfSetBits, toRuns } from "./chunk-runs.js";
import { insertSegment, PART_BYTES } from "./contents.js";
import { mayRead } from "./readers.js";
import { bury, dropSegments, runsOf } from "./removal.js";
import type { IndexStore, SegmentMerge, SegmentRange, VectorRow } from "./store.js";

interface SegmentRow {
  id: number | null;
  level: number;
  run_firsts: number[];
  run_counts: number[];
  chunk_count: number;
  dead_count: number;
  bytes: number;
  tombstone_version: number;
  epoch: number;
  embedding_model: string;
}

interface VectorRowColumns {
  first_chunk: number;
  chunk_count: number;
  data: Buffer;
}

interface ChunkRow {
  id: number;
  ordinal: number;
  start_offset: number;
  end_offset: number;
  text: string;
  heading_path: string[];
  page: number | null;
  document_id: string;
  source: string;
  title: string;
  metadata: JsonObject;
}

export function indexStore(db: SqlDatabase): IndexStore {
  return {
    async reserveChunkIds(collection, count) {
      const [row] = await db.query<{ first: number }>(
        `update rag.collections set next_chunk = next_chunk + $2 where uid = $1 returning next_chunk - $2 as first`,
        [collection, count],
      );
      // A collection that was deleted has no ids to give; the commit that would use them is refused.
      return row?.first ?? 1;
    },
    async manifest(collection) {
      // One statement is one snapshot: the epoch, the model and the segments belong together.
      const rows = await db.query<SegmentRow>(
        `select c.epoch, c.embedding_model, s.id, s.level, s.run_firsts, s.run_counts, s.chunk_count, s.dead_count, s.bytes, s.tombstone_version
         from rag.collections c left join rag.segments s on s.collection = c.uid and s.job is null where c.uid = $1 order by s.id`,
        [collection],
      );
      const [first] = rows;
      if (first === undefined) return undefined;
      const segments = rows.flatMap((row) =>
        row.id === null
          ? []
          : [
              {
                id: row.id,
                level: row.level,
                runs: runsOf(row),
                chunkCount: row.chunk_count,
                deadCount: row.dead_count,
                bytes: row.bytes,
                tombstoneVersion: row.tombstone_version,
              },
            ],
      );
      return { epoch: first.epoch, model: first.embedding_model, segments };
    },
    async readSegment(collection, segment) {
      const parts: Buffer[] = [];
      for (;;) {
        const [row] = await db.query<{ data: Buffer }>(
          `select data from rag.segment_parts where collection = $1 and segment = $2 and part = $3`,
          [collection, segment, parts.length],
        );
        if (row === undefined) return parts.length === 0 ? undefined : Buffer.concat(parts);
        parts.push(row.data);
      }
    },
    readSegmentRanges: (collection, ranges) => readSegmentRanges(db, collection, ranges),
    async readTombstones(collection, segments) {
      const rows = await db.query<{ id: number; tombstone_version: number; tombstones: Buffer }>(
        `select id, tombstone_version, tombstones from rag.segments where collection = $1 and id = any($2::bigint[])`,
        [collection, segments],
      );
      return new Map(rows.map((row) => [row.id, { version: row.tombstone_version, bits: row.tombstones }]));
    },
    async readVectors(collection, model, first, last) {
      const rows = await db.query<VectorRowColumns>(
        `select first_chunk, chunk_count, data from rag.vectors
         where collection = $1 and model = $2 and first_chunk between $3 and $4 order by first_chunk`,
        [collection, model, first, last],
      );
      return rows.map(toVectorRow);
    },
    async readVectorBlock(collection, model, after, chunks) {
      // The sum runs over rows without their vectors: those are only fetched of the rows that are returned.
      const rows = await db.query<VectorRowColumns>(
        `select first_chunk, chunk_count, data from (
           select first_chunk, chunk_count, data, sum(chunk_count) over (order by first_chunk) as total from (
             select first_chunk, chunk_count, data from rag.vectors
             where collection = $1 and model = $2 and first_chunk > $3 order by first_chunk limit $4) as next) as counted
         where total - chunk_count < $4 order by first_chunk`,
        [collection, model, after, chunks],
      );
      return rows.map(toVectorRow);
    },
    async readVectorsOf(collection, model, chunkIds) {
      const rows = await db.query<VectorRowColumns>(
        `select distinct on (v.first_chunk) v.first_chunk, v.chunk_count, v.data
         from unnest($3::bigint[]) as wanted(id), lateral (
           select first_chunk, chunk_count, data from rag.vectors
           where collection = $1 and model = $2 and first_chunk <= wanted.id order by first_chunk desc limit 1) as v
         where wanted.id < v.first_chunk + v.chunk_count`,
        [collection, model, chunkIds],
      );
      return rows.map(toVectorRow);
    },
    async readChunks(collection, viewer, ids) {
      // A join would be planned by statistics that a young collection does not have: over all of its documents.
      const rows = await db.query<ChunkRow>(
        `select c.id, c.ordinal, c.start_offset, c.end_offset, c.text, c.heading_path, c.page, d.*
         from rag.chunks c, lateral (
           select id as document_id, source, title, metadata from rag.documents
           where collection = $1 and key = c.document and ${mayRead("$3")} limit 1) d
         where c.collection = $1 and c.id = any($2::bigint[])`,
        [collection, ids, viewer ?? null],
      );
      return rows.map((row) => ({
        id: row.id,
        ordinal: row.ordinal,
        start: row.start_offset,
        end: row.end_offset,
        text: row.text,
        headingPath: row.heading_path,
        page: row.page ?? undefined,
        document: { id: row.document_id, source: row.source, title: row.title, metadata: row.metadata },
      }));
    },
    async allowedChunks(collection, viewer, condition) {
      const [ofCollection, ofViewer] = [1, 2].map((place) => `$${condition.parameters.length + place}`);
      const rows = await db.query<{ first: number; count: number }>(
        `select run.first, run.count from rag.documents, unnest(run_firsts, run_counts) as run(first, count)
         where collection = ${ofCollection} and ${mayRead(ofViewer!)} and (${condition.text}) order by run.first`,
        [...condition.parameters, collection, viewer ?? null],
      );
      return rows;
    },
    commitMerge: (collection, merge) => db.transaction((tx) => commitMerge(tx, collection, merge)),
  };
}

function toVectorRow(row: VectorRowColumns): VectorRow {
  return { firstChunk: row.first_chunk, count: row.chunk_count, bytes: row.data };
}

/** Bytes out of the parts that hold them: the database reads no more of a part than is asked for. */
async function readSegmentRanges(db: SqlSession, collection: number, ranges: readonly SegmentRange[]): Promise<(Uint8Array | undefined)[]> {
  const pieces = ranges.flatMap(({ segment, start, end }, range) => {
    const parts = [];
    for (let part = Math.floor(start / PART_BYTES); part * PART_BYTES < end; part += 1) {
      const from = Math.max(start - part * PART_BYTES, 0);
      parts.push({ range, segment, part, from, length: Math.min(end - part * PART_BYTES, PART_BYTES) - from });
    }
    return parts;
  });
  const rows = await db.query<{ range: number; data: Buffer }>(
    `select x.range, substring(p.data from x."from" + 1 for x.length) as data
     from json_to_recordset($2::json) as x(range int, segment bigint, part int, "from" int, length int)
     join rag.segment_parts p on p.collection = $1 and p.segment = x.segment and p.part = x.part
     order by x.range, x.part`,
    [collection, JSON.stringify(pieces)],
  );
  const read = new Map<number, Buffer[]>();
  for (const { range, data } of rows) read.set(range, [...(read.get(range) ?? []), data]);
  return ranges.map(({ start, end }, range) => {
    if (start === end) return new Uint8Array();
    const parts = read.get(range);
    return parts && new Uint8Array(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  });
}

async function commitMerge(tx: SqlSession, collection: number, { inputs, output }: SegmentMerge): Promise<boolean> {
  const [lock] = await tx.query(`select 1 from rag.collections where uid = $1 for update`, [collection]);
  if (lock === undefined) return false;
  const ids = inputs.map(({ id }) => id);
  const rows = await tx.query<{ id: number; run_firsts: number[]; run_counts: number[]; tombstones: Buffer }>(
    `select id, run_firsts, run_counts, tombstones from rag.segments where collection = $1 and id = any($2::bigint[]) and job is null`,
    [collection, ids],
  );
  if (rows.length < inputs.length) return false;
  const known = new Map(inputs.map(({ id, deleted }) => [id, deleted]));
  const deletedSince = rows.flatMap((row) => [...idsOfSetBits(runsOf(row), row.tombstones, known.get(row.id)!)]).sort((a, b) => a - b);
  await dropSegments(tx, collection, ids);
  if (output.runs.length === 0) return true;
  await insertSegment(tx, collection, output);
  await bury(tx, collection, toRuns(deletedSince));
  return true;
}
