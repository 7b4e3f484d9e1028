import { serveThread } from "../../../runtime/threads/serve-thread.js";
import { answerHere } from "./cutter.js";

serveThread(answerHere, (response) => ("cut" in response ? response.cut.windows.map(({ buffer }) => buffer) : []));
