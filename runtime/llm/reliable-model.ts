import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import type { Clock } from "../clock.js";
import { hasCode, meshError, retryAfterMsOf } from "../errors.js";
import { Circuit } from "./circuit.js";
import type { LanguageModel, ModelReply, ModelRequest, OnText } from "./language-model.js";

export interface ReliabilityOptions {
  clock: Clock;
  /** Tries after the first one, while nothing of the reply was shown. */
  retries: number;
  /** Time until the reply begins, in milliseconds. */
  firstTokenMs: number;
  /** Time until the reply ends, in milliseconds. */
  totalMs: number;
  /** Spreads retries, 0 to 1. Default random. */
  jitter?: () => number;
}

const FIRST_PAUSE_MS = 250;
/** A provider that wants a longer pause is not waited for: the caller knows better what to do with the time. */
const LONGEST_PAUSE_MS = 10_000;
/** Failures in a row after which a model is left alone. */
const FAILURES = 5;
const ALONE_MS = 15_000;

/** A model said nothing for longer than it may. */
class Silence extends Error {}

/**
 * Makes a model's failures cost little: transient ones, and replies without anything in them, are tried again after a pause
 * (the provider's Retry-After where there is one), silence is ended, and a model that is down is left alone but for a probe every 15 seconds. So a dead
 * model costs one timeout, then nothing.
 */
export function reliableModel(model: LanguageModel, options: ReliabilityOptions): LanguageModel {
  const { clock, retries, jitter = Math.random } = options;
  const circuit = new Circuit({ clock, failures: FAILURES, openMs: ALONE_MS });

  /** One try. Tells the circuit how it ended, also when its caller leaves. */
  async function attempt(request: ModelRequest, onText: OnText): Promise<ModelReply> {
    const wait = circuit.enter();
    if (wait > 0) throw leftAlone(model.name, wait);
    let outcome = () => circuit.abandoned();
    let ended = false;
    try {
      const reply = await watched(model, request, options, onText);
      outcome = () => circuit.succeeded();
      ended = true;
      if (reply.text.trim() === "" && (reply.message.tool_calls ?? []).length === 0) throw saidNothing(model.name);
      return reply;
    } catch (error) {
      // A refusal is an answer too, and so is nothing: the model is there.
      const isDown = error instanceof Silence || (!ended && hasCode(error, Code.Unavailable));
      if (!request.signal?.aborted) outcome = () => (isDown ? circuit.failed(error instanceof Silence) : circuit.succeeded());
      throw error;
    } finally {
      outcome();
    }
  }

  return {
    name: model.name,
    async reply(request, onText) {
      for (let tries = 1; ; tries += 1) {
        let shown = false;
        try {
          return await attempt(request, (piece) => {
            shown ||= /\S/.test(piece);
            onText?.(piece);
          });
        } catch (error) {
          if (error instanceof Silence) throw silent(model.name, error);
          const pause = retryAfterMsOf(error) ?? FIRST_PAUSE_MS * 2 ** (tries - 1) * (0.5 + jitter());
          const mayHelp = hasCode(error, Code.Unavailable) && pause <= LONGEST_PAUSE_MS && circuit.isClosed;
          if (shown || tries > retries || !mayHelp || request.signal?.aborted) throw error;
          await clock.sleep(pause, request.signal);
        }
      }
    },
  };
}

/** Why nobody waits for silence any more: making an error for it, with its stack, is a tenth of what a short reply costs. */
const IN_TIME = "the reply came in time";

/** The model's reply, ended with Silence when it does not begin or end in time. */
async function watched(model: LanguageModel, request: ModelRequest, options: ReliabilityOptions, onText: OnText): Promise<ModelReply> {
  const silence = new AbortController();
  const began = new AbortController();
  const ended = new AbortController();
  const limit = (ms: number, until: AbortSignal, what: string) => {
    const tooLate = () => silence.abort(new Silence(`the model's reply did not ${what} in ${ms / 1000} s`));
    options.clock.sleep(ms, until).then(tooLate, () => {});
  };
  limit(options.firstTokenMs, began.signal, "begin");
  limit(options.totalMs, ended.signal, "end");
  const signals = [silence.signal, ...(request.signal === undefined ? [] : [request.signal])];
  try {
    return await model.reply({ ...request, signal: AbortSignal.any(signals) }, (piece) => {
      began.abort(IN_TIME);
      onText(piece);
    });
  } finally {
    began.abort(IN_TIME);
    ended.abort(IN_TIME);
  }
}

function silent(model: string, cause: Silence) {
  return meshError(Code.Unavailable, ErrorReason.MODEL_UNAVAILABLE, `The model ${model} did not answer in time; try again.`, {
    metadata: { model },
    cause,
  });
}

function saidNothing(model: string) {
  return meshError(Code.Unavailable, ErrorReason.MODEL_UNAVAILABLE, `The model ${model} answered with nothing; try again, or ask otherwise.`, {
    metadata: { model },
  });
}

function leftAlone(model: string, retryAfterMs: number) {
  return meshError(Code.Unavailable, ErrorReason.MODEL_UNAVAILABLE, `The model ${model} failed repeatedly and is not asked for now.`, {
    metadata: { model },
    retryAfterMs,
  });
}
