import { fail } from "../runtime/service.js";
import { launch } from "./launch.js";
import { untilSignalled } from "../runtime/shutdown.js";

try {
  const mesh = await launch(process.env);
  process.stdout.write(mesh.banner);
  await untilSignalled();
  await mesh.stop();
  process.exit(0);
} catch (error) {
  fail(error);
}
