import type pg from "pg";
import { loadStaticEmbedder } from "../../runtime/embedding/static-embedder.js";

const BATCH = 500;
const CANDIDATES = 50;

/**
 * The usual hybrid search in PostgreSQL: pgvector with an HNSW index and tsvector with a GIN index, fused by reciprocal ranks. The
 * question's words are joined by "or": by "and", as websearch_to_tsquery has it, questions in sentences find next to nothing.
 */
export class PgvectorTable {
  readonly #pool: pg.Pool;
  readonly #name: string;

  constructor(pool: pg.Pool, name: string) {
    this.#pool = pool;
    this.#name = name;
  }

  /** Copies the chunks of a collection of the rag service, with vectors of the same embedder. */
  async fill(collection: string): Promise<number> {
    const embedder = await loadStaticEmbedder();
    await this.#pool.query(
      `create table ${this.#name} (id bigint primary key, text text not null, embedding halfvec(${embedder.dimension}) not null,
         terms tsvector generated always as (to_tsvector('english', text)) stored)`,
    );
    let after = -1;
    let count = 0;
    for (;;) {
      const { rows } = await this.#pool.query<{ id: string; text: string }>(
        `select c.id, c.text from rag.chunks c join rag.collections o on o.uid = c.collection
         where o.id = $1 and c.id > $2 order by c.id limit ${BATCH}`,
        [collection, after],
      );
      if (rows.length === 0) break;
      const vectors = rows.map(({ text }) => `[${[...embedder.embedText(text)].join(",")}]`);
      await this.#pool.query(`insert into ${this.#name} (id, text, embedding) select * from unnest($1::bigint[], $2::text[], $3::halfvec[])`, [
        rows.map(({ id }) => id),
        rows.map(({ text }) => text),
        vectors,
      ]);
      after = Number(rows.at(-1)!.id);
      count += rows.length;
    }
    await this.#pool.query(`create index on ${this.#name} using gin (terms)`);
    await this.#pool.query(`create index on ${this.#name} using hnsw (embedding halfvec_cosine_ops)`);
    await this.#pool.query(`analyze ${this.#name}`);
    return count;
  }

  /** The texts of the k best chunks. */
  async search(question: string, k: number): Promise<string[]> {
    const [vector] = await (await loadStaticEmbedder()).embed([question]);
    const { rows } = await this.#pool.query<{ text: string }>({
      name: `search-${this.#name}`,
      text: `with asked as (select replace(plainto_tsquery('english', $2)::text, '&', '|')::tsquery as query),
        meaning as (
          select id, row_number() over () as rank from (
            select id from ${this.#name} order by embedding <=> $1::halfvec limit ${CANDIDATES}) as near),
        words as (
          select id, row_number() over () as rank from (
            select id from ${this.#name}, asked where terms @@ query order by ts_rank_cd(terms, query) desc limit ${CANDIDATES}) as said)
        select t.text from meaning full join words using (id) join ${this.#name} t using (id)
        order by coalesce(1.0 / (60 + meaning.rank), 0) + coalesce(1.0 / (60 + words.rank), 0) desc limit $3`,
      values: [`[${[...vector!].join(",")}]`, question, k],
    });
    return rows.map(({ text }) => text);
  }
}
