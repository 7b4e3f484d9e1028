import { ConfigError } from "../runtime/config.js";
import { PortInUseError } from "../runtime/grpc-server.js";

/** Says which variable to change when a port is taken. */
export async function namingPort<T>(variable: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof PortInUseError)) throw error;
    throw new ConfigError(`${error.message} Stop what listens there, or set ${variable} to another port (0 takes any free one).`);
  }
}
