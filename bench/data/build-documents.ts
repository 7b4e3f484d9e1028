/**
 * Makes documents.jsonl from the HTML pages of the PostgreSQL 15 manual:
 *   node --import tsx bench/data/build-documents.ts FOLDER > bench/data/documents.jsonl
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { extract } from "../../services/rag/extraction/extract.js";

/** Reference lists, release notes and chapters for PostgreSQL's own developers. */
const LEFT_OUT = new RegExp(
  `^(?:infoschema|information-schema|spi|release|ecpg|docguide|features|unsupported|sql-keywords|errcodes|contrib|catalog|protocol|bookindex|index$
  |biblio|geqo|bki|fdw|nls|git|legalnotice|acronyms|regress|source|error-|custom-|tableam|indexam|index-|gist|gin|spgist|brin|btree|hash|plhandler
  |plperl|pltcl|xfunc|xoper|xindex|xaggr|xtypes|typeconv|app-pg(?:receive|recv|resetx|amch|config|contro)
  |view-pg-(?:config|group|shadow|user|avail|backend|time|stats-ext|shmem|rules|seclab)|datetime-|lo-|lo$|sepgsql|dict-|arch|basic|basebackup|test-
  |tablesample|rule|query|parser|executor|planner-opt|wal-internals|logicaldecoding|storage-(?:init|page)|event-trigger|trigger-
  |functions-(?:enum|event|trigger|xml|geom|net)|system-cat|internals|intagg|isn|seg|cube|tcn|tsm|tablefunc|earth|unaccent|uuid|xml2|sslinfo|old|page
  |pgsurg|pgvis|pgwalins|pgrow|pgbuffer|pgfree|adminpack|amcheck|auth-delay|bloom|sql-(?:drop|createag|createcast|createconv|createev|createfor
  |createop|createtr|createts|createty|createlan|sec|abort|end|import|load|alter(?:agg|conv|dom|ev|ext|for|fu|gr|la|op|po|pr|pu|ro|ru|st|ta|ts|ty|us)))`.replace(/\s/g, ""),
);
/** Long pages that hold answers. */
const LONG = new Set(
  `sql-syntax-lexical runtime-config-connection runtime-config-wal runtime-config-resource runtime-config-replication runtime-config-autovacuum
  runtime-config-query runtime-config-locks routine-vacuuming explicit-locking transaction-iso datatype-numeric datatype-character ddl-partitioning
  continuous-archiving app-pgdump`.split(/\s+/),
);
const MIN_LENGTH = 600;
const MAX_LENGTH = 9_000;

const folder = process.argv[2];
if (folder === undefined) throw new Error("give the folder of the manual's HTML pages");
for (const name of readdirSync(folder).sort()) {
  const id = name.replace(/\.html$/, "");
  if (id === name || LEFT_OUT.test(id)) continue;
  const { text, title } = await extract({ content: readFileSync(join(folder, name)), name });
  if (!LONG.has(id) && (text.length < MIN_LENGTH || text.length > MAX_LENGTH)) continue;
  process.stdout.write(`${JSON.stringify({ id, mime_type: "text/markdown", text: title === undefined || text.startsWith("#") ? text : `# ${title}\n\n${text}` })}\n`);
}
