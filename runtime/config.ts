import { z } from "zod";

/** The environment is wrong; the message has one line for each variable at fault. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

/**
 * Reads variables by a zod object whose keys are their names. Unset and empty
 * are the same. Throws one ConfigError that names everything that is wrong.
 */
export function parseEnv<S extends z.ZodObject>(env: NodeJS.ProcessEnv, schema: S): z.infer<S> {
  const input: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = env[name]?.trim();
    if (value !== undefined && value !== "") input[name] = value;
  }
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new ConfigError(`The configuration is wrong:\n${[...new Set(lines)].join("\n")}`);
}

/** A TCP port; 0 takes any free one. */
export function port(defaultPort: number) {
  return integer({ default: defaultPort, min: 0, max: 65_535, unit: "port" });
}

/** A whole number with a default and limits. */
export function integer(options: { default: number; min: number; max: number; unit: string }) {
  const message = `give a whole number from ${options.min} to ${options.max} (${options.unit})`;
  return z.coerce
    .number(message)
    .int(message)
    .min(options.min, message)
    .max(options.max, message)
    .default(options.default);
}

/** true/false, 1/0, yes/no, on/off. */
export function flag(defaultValue: boolean) {
  return z.stringbool("give true or false").default(defaultValue);
}

/** A list of words separated by commas. */
export function commaList(defaultValue: string[]) {
  return z
    .string()
    .transform((value) => value.split(",").map((part) => part.trim()).filter((part) => part !== ""))
    .default(defaultValue);
}

/** A gRPC target: host:port, or a dns:/// name that resolves to every replica. */
export function grpcTarget(defaultValue: string) {
  return z
    .string()
    .regex(/^(dns:\/\/\/)?[^\s/]+:\d{1,5}$/, "give host:port or dns:///host:port")
    .default(defaultValue);
}
