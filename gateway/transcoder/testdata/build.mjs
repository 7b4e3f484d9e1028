// Compiles the protos of the transcoder's tests, with their comments, to transcoding.binpb. Run by `npm run gen`.
import { spawnSync } from "node:child_process";
import { join, relative } from "node:path";

const root = join(import.meta.dirname, "../../..");
const testdata = relative(root, import.meta.dirname);
const config = JSON.stringify({ version: "v2", modules: [{ path: testdata }, { path: "third_party" }] });
const args = ["build", "--config", config, "--path", join(testdata, "transcoding"), "--exclude-imports"];
const { status } = spawnSync(
  join(root, "node_modules/.bin/buf"),
  [...args, "-o", join(testdata, "transcoding.binpb")],
  {
    cwd: root,
    stdio: "inherit",
  },
);
process.exit(status ?? 1);
