import { pino } from "pino";

/** Facts of a log line. Never prompts, documents, keys or other people's text. */
export type LogFields = Record<string, unknown>;

/** A line is an event's name and its fields; `err` holds the cause where there is one. */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger whose every line has these fields too. */
  child(fields: LogFields): Logger;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** JSON lines on stderr: stdout belongs to what a user asked to see. */
export function createLogger(options: { level: LogLevel; fields?: LogFields }): Logger {
  const destination = pino.destination({ fd: 2, sync: true });
  return wrap(pino({ level: options.level, base: options.fields ?? {}, messageKey: "event" }, destination));
}

/** Logs nothing: for tests. */
export const silentLogger: Logger = wrap(pino({ level: "silent" }));

function wrap(target: pino.Logger): Logger {
  return {
    debug: (event, fields) => target.debug(fields ?? {}, event),
    info: (event, fields) => target.info(fields ?? {}, event),
    warn: (event, fields) => target.warn(fields ?? {}, event),
    error: (event, fields) => target.error(fields ?? {}, event),
    child: (fields) => wrap(target.child(fields)),
  };
}
