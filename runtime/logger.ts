import { pino } from "pino";

/** Facts of a log line. Never prompts, documents, keys or other people's text. */
export type LogFields = Record<string, unknown>;

/** A line is an event's name and its fields; `err` holds the cause where there is one. */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A line of the audit log: who did what to the mesh itself. Written whatever the level, unless that is "silent". */
  audit(fields: LogFields): void;
  /** A logger whose every line has these fields too. */
  child(fields: LogFields): Logger;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The audit level is above all others. */
const PINO_OPTIONS = { messageKey: "event", customLevels: { audit: 80 } };

/** JSON lines on stderr: stdout belongs to what a user asked to see. */
export function createLogger(options: { level: LogLevel; fields?: LogFields }): Logger {
  const destination = pino.destination({ fd: 2, sync: true });
  return wrap(pino({ ...PINO_OPTIONS, level: options.level, base: options.fields ?? {} }, destination));
}

/** Logs nothing: for tests. */
export const silentLogger: Logger = wrap(pino({ ...PINO_OPTIONS, level: "silent" }));

function wrap(target: pino.Logger<"audit">): Logger {
  return {
    debug: (event, fields) => target.debug(fields ?? {}, event),
    info: (event, fields) => target.info(fields ?? {}, event),
    warn: (event, fields) => target.warn(fields ?? {}, event),
    error: (event, fields) => target.error(fields ?? {}, event),
    audit: (fields) => target.audit(fields, "audit"),
    child: (fields) => wrap(target.child(fields)),
  };
}
