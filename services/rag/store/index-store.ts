import type { JsonObject } from "@bufbuild/protobuf";
import type { SqlDatabase, SqlSession } from "../../../runtime/sql/database.js";
import { idsOfSetBits, toRuns } from "./chunk-runs.js";
import { insertSegment } from "./contents.js";
import { mayRead } from "./readers.js";
import { bury, dropSegments, runsOf } from "./removal.js";
import type { IndexStore, SegmentMerge } from "./store.js";

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
      // One statement is one snapshot: the epoch and the segments belong together.
      const rows = await db.query<SegmentRow>(
        `select c.epoch, s.id, s.level, s.run_firsts, s.run_counts, s.chunk_count, s.dead_count, s.bytes, s.tombstone_version
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
      return { epoch: first.epoch, segments };
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
    async readTombstones(collection, segments) {
      const rows = await db.query<{ id: number; tombstone_version: number; tombstones: Buffer }>(
        `select id, tombstone_version, tombstones from rag.segments where collection = $1 and id = any($2::bigint[])`,
        [collection, segments],
      );
      return new Map(rows.map((row) => [row.id, { version: row.tombstone_version, bits: row.tombstones }]));
    },
    async readVectors(collection, model, first, last) {
      const rows = await db.query<{ first_chunk: number; chunk_count: number; data: Buffer }>(
        `select first_chunk, chunk_count, data from rag.vectors
         where collection = $1 and model = $2 and first_chunk between $3 and $4 order by first_chunk`,
        [collection, model, first, last],
      );
      return rows.map((row) => ({ firstChunk: row.first_chunk, count: row.chunk_count, bytes: row.data }));
    },
    async readChunks(collection, viewer, ids) {
      const rows = await db.query<ChunkRow>(
        `select c.id, c.ordinal, c.start_offset, c.end_offset, c.text, c.heading_path, c.page, d.id as document_id, d.source, d.title, d.metadata
         from rag.chunks c join rag.documents d on d.collection = c.collection and d.key = c.document
         where c.collection = $1 and c.id = any($2::bigint[]) and ${mayRead("$3")}`,
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
