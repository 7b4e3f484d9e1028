import type { Migration } from "../../../runtime/sql/migrate.js";

/** The schema that all tables of the service are in. */
export const SCHEMA = "rag";

/**
 * The tables. Rows of a collection carry its uid, so that all of one go together and a collection made again under an old id
 * starts empty. A document's chunks have consecutive ids; the first one is the document's key, so chunks find their document
 * and a document its chunks, vectors and tombstones without an index of their own.
 */
export const migrations: readonly Migration[] = [
  {
    version: 1,
    statements: [
      `create table rag.collections (
        uid bigint generated always as identity primary key,
        tenant text not null,
        id text collate "C" not null,
        chunk_size int not null,
        chunk_overlap int not null,
        embedding_model text not null,
        language text not null,
        epoch bigint not null,
        document_count bigint not null default 0,
        chunk_count bigint not null default 0,
        text_bytes bigint not null default 0,
        restricted_count bigint not null default 0,
        next_chunk bigint not null default 1,
        next_segment bigint not null default 1,
        create_time timestamptz not null,
        update_time timestamptz not null,
        unique (tenant, id)
      )`,
      // Epochs go on where a deleted collection of the same id ended: caches key by them.
      `create table rag.last_epochs (
        tenant text not null,
        id text collate "C" not null,
        epoch bigint not null,
        primary key (tenant, id)
      )`,
      `create table rag.documents (
        collection bigint not null,
        id text collate "C" not null,
        key bigint not null,
        source text not null,
        title text not null,
        mime_type text not null,
        -- What the document says of itself, below what the caller says of it: metadata is both.
        found_metadata jsonb not null,
        given_metadata jsonb not null,
        metadata jsonb not null,
        readers text[] not null,
        content_hash text not null,
        size_bytes bigint not null,
        text_bytes bigint not null,
        chunk_count int not null,
        run_firsts bigint[] not null,
        run_counts int[] not null,
        create_time timestamptz not null,
        update_time timestamptz not null,
        primary key (collection, id)
      )`,
      `create unique index documents_key on rag.documents (collection, key)`,
      `create index documents_metadata on rag.documents using gin (metadata jsonb_path_ops)`,
      `create table rag.chunks (
        collection bigint not null,
        id bigint not null,
        document bigint not null,
        ordinal int not null,
        start_offset int not null,
        end_offset int not null,
        heading_path jsonb not null,
        page int,
        text text not null,
        primary key (collection, id)
      )`,
      // Vectors stand apart from texts, by model: a second model is built beside the first, and a merge rewrites neither.
      `create table rag.vectors (
        collection bigint not null,
        model text not null,
        first_chunk bigint not null,
        chunk_count int not null,
        data bytea not null,
        primary key (collection, model, first_chunk)
      )`,
      `create table rag.segments (
        collection bigint not null,
        id bigint not null,
        level int not null,
        chunk_count int not null,
        run_firsts bigint[] not null,
        run_counts int[] not null,
        bytes bigint not null,
        tombstone_version bigint not null default 0,
        tombstones bytea not null default '',
        dead_count int not null default 0,
        -- Set while it is a window of a document that is not complete yet: nobody searches it.
        job text,
        ordinal int,
        window_number int,
        window_hash text,
        primary key (collection, id)
      )`,
      `create index segments_windows on rag.segments (job, ordinal) where job is not null`,
      `create table rag.segment_parts (
        collection bigint not null,
        segment bigint not null,
        part int not null,
        data bytea not null,
        primary key (collection, segment, part)
      )`,
      // Compressing what is compressed already costs more than it saves.
      `alter table rag.vectors alter column data set storage external`,
      `alter table rag.segments alter column tombstones set storage external`,
      `alter table rag.segment_parts alter column data set storage external`,
      `create table rag.jobs (
        id text primary key,
        tenant text not null,
        collection bigint not null,
        collection_id text not null,
        state text not null,
        phase text not null default 'NONE',
        path jsonb,
        metadata jsonb not null,
        readers text[] not null,
        -- Documents whose ids begin with it and are not in the job go at its end; null for none.
        sync_prefix text,
        idempotency_key text,
        enumerated boolean not null,
        total_documents bigint not null default 0,
        done_documents bigint not null default 0,
        skipped_documents bigint not null default 0,
        failed_documents bigint not null default 0,
        ignored_files bigint not null default 0,
        removed_documents bigint not null default 0,
        chunks bigint not null default 0,
        total_bytes bigint not null default 0,
        done_bytes bigint not null default 0,
        failures jsonb not null default '[]',
        owner text,
        lease_until timestamptz,
        attempt int not null default 0,
        fruitless_attempts int not null default 0,
        create_time timestamptz not null,
        start_time timestamptz,
        end_time timestamptz
      )`,
      `create index jobs_newest on rag.jobs (tenant, create_time, id)`,
      `create index jobs_open on rag.jobs (create_time) where state in ('STAGING', 'QUEUED', 'RUNNING')`,
      `create unique index jobs_idempotency on rag.jobs (collection, idempotency_key) where idempotency_key is not null`,
      `create index jobs_collection on rag.jobs (collection)`,
      `create table rag.job_documents (
        job text not null,
        ordinal int not null,
        document_id text not null,
        source text not null,
        mime_type text not null,
        metadata jsonb not null,
        readers text[] not null,
        size_bytes bigint not null,
        file text,
        waiting boolean not null default true,
        window_bytes bigint not null default 0,
        primary key (job, ordinal)
      )`,
      `create index job_documents_waiting on rag.job_documents (job, ordinal) where waiting`,
      `create table rag.job_parts (
        job text not null,
        ordinal int not null,
        part int not null,
        data bytea not null,
        primary key (job, ordinal, part)
      )`,
    ],
  },
  {
    version: 2,
    statements: [
      `alter table rag.collections add column chunk_unit text not null default 'characters'`,
      // The model that a re-embedding gives the collection; null for an ingestion.
      `alter table rag.jobs add column target_model text`,
      `alter table rag.jobs add column total_chunks bigint not null default 0`,
      `create unique index jobs_reembedding on rag.jobs (collection)
       where target_model is not null and state in ('STAGING', 'QUEUED', 'RUNNING')`,
      // Vectors that no question is answered by: of the model before, or of one that the collection did not get.
      `create table rag.unused_vectors (
        collection bigint not null,
        model text not null,
        since timestamptz not null,
        primary key (collection, model)
      )`,
      // A document that is fetched when its turn comes, and what its server said that it can be asked for again by.
      `alter table rag.job_documents add column url text`,
      `alter table rag.documents add column page_version jsonb`,
    ],
  },
  {
    version: 3,
    // Of staged bytes: a document that is as it was is not read again.
    statements: [`alter table rag.job_documents add column content_hash text`],
  },
];
