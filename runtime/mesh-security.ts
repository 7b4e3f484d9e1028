import type { DescMethod } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { ServerCredentials } from "@grpc/grpc-js";
import { z } from "zod";
import { Access } from "../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../gen/ragents/errors/v1/errors_pb.js";
import { currentCall, type Identity, LOCAL_IDENTITY } from "./call-context.js";
import type { ChannelSecurity } from "./channel-security.js";
import type { Clock } from "./clock.js";
import { ConfigError, parseEnv } from "./config.js";
import { meshError } from "./errors.js";
import { accessOf } from "./identity/access.js";
import { storedKeys, type IdentityKeys } from "./identity/identity-keys.js";
import { IDENTITY_HEADER } from "./identity/identity-token.js";
import { parseKeyFile } from "./identity/key-file.js";
import { TokenIssuer } from "./identity/token-issuer.js";
import { TokenVerifier } from "./identity/token-verifier.js";
import { localWarrants, signedWarrants, type Warrants } from "./identity/warrants.js";
import type { Logger } from "./logger.js";
import { openReloadingFiles } from "./reloading-files.js";
import { type MutualTls, openMutualTls, type PemFiles } from "./tls/certificate-files.js";

/** How a service knows who calls it, and how it shows whom it calls for. */
export interface MeshSecurity {
  /** Who calls, by the metadata of the call. Throws UNAUTHENTICATED when nobody vouches for the caller. */
  readonly identify: (header: Headers, method: DescMethod) => Identity | Promise<Identity>;
  /** Whether services believe what this one says about its callers. */
  readonly vouches: boolean;
  /** Headers that tell the service behind `method` on whose behalf it is called; none where services trust everybody. */
  readonly vouch: (identity: Identity, method: DescMethod) => readonly (readonly [name: string, value: string])[];
  /** For work that another replica may have to go on with. */
  readonly warrants: Warrants;
  /** For the connections that the service opens: calls show the identity of the call that they are made for. */
  readonly channel: ChannelSecurity;
  /** For the server's own connections; undefined in the clear. */
  readonly serverCredentials: ServerCredentials | undefined;
  /** The same for servers that are not gRPC's; undefined without certificates. */
  readonly pem?: PemFiles | undefined;
}

/** What the services of one process have in common. */
export interface ProcessSecurity {
  /** Undefined where services trust whoever reaches them. */
  readonly keys: IdentityKeys | undefined;
  /** For warrants, where `keys` end with the process. Default: `keys`. */
  readonly warrantKeys?: IdentityKeys;
  readonly tls: MutualTls | undefined;
  /** Ends the watching of files. */
  close(): void;
}

const schema = z.object({
  RAGENTS_IDENTITY_KEYS: z.string().optional(),
  RAGENTS_TLS_CERT: z.string().optional(),
  RAGENTS_TLS_KEY: z.string().optional(),
  RAGENTS_TLS_CA: z.string().optional(),
});

/** Opens what the variables name: keys of identities, certificates. Throws ConfigError when a file is missing or wrong. */
export async function openProcessSecurity(env: NodeJS.ProcessEnv, host: { logger: Logger; clock: Clock }): Promise<ProcessSecurity> {
  const config = parseEnv(env, schema);
  const { RAGENTS_TLS_CERT: cert, RAGENTS_TLS_KEY: key, RAGENTS_TLS_CA: ca, RAGENTS_IDENTITY_KEYS: path } = config;
  const given = [cert, key, ca].filter((value) => value !== undefined).length;
  if (given === 1 || given === 2) throw new ConfigError("Give all three of RAGENTS_TLS_CERT, RAGENTS_TLS_KEY and RAGENTS_TLS_CA, or none.");
  const file =
    path === undefined ? undefined : await openReloadingFiles([path], ([text]) => parseKeyFile(String(text), path), { logger: host.logger });
  const tls = cert && key && ca ? await openMutualTls({ cert, key, ca }, host.logger) : undefined;
  return {
    keys: file && storedKeys(file.current, host.clock),
    tls,
    close() {
      file?.close();
      tls?.close();
    },
  };
}

/**
 * The security of one service of a process.
 * @param options.service its short name, under which it vouches for those it calls for
 * @param options.required whether calls without an identity are refused; they are the local tenant's else
 * @param options.authenticate who calls by other credentials than a service's word, where the service may check them itself
 */
export function meshSecurity(options: {
  process: ProcessSecurity;
  service: string;
  clock: Clock;
  required: () => boolean;
  authenticate?: (header: Headers) => Identity | Promise<Identity>;
}): MeshSecurity {
  const { keys, tls, warrantKeys = keys } = options.process;
  const { clock, required, authenticate } = options;
  const verifier = keys && new TokenVerifier({ keys, clock });
  const issuer = keys && new TokenIssuer({ keys, clock, issuer: options.service });
  const vouch: MeshSecurity["vouch"] = (identity, method) =>
    issuer === undefined ? [] : [[IDENTITY_HEADER, issuer.token(identity, method.parent.typeName)]];
  return {
    identify(header, method) {
      const token = header.get(IDENTITY_HEADER);
      // Without keys to check a token the call must not become the local tenant's: this service's configuration is incomplete.
      if (token !== null) {
        if (verifier === undefined) throw uncheckedIdentity();
        return verifier.identity(token, method.parent.typeName);
      }
      if (!required()) return LOCAL_IDENTITY;
      if (accessOf(method) === Access.PUBLIC) return ANYBODY;
      if (authenticate !== undefined) return authenticate(header);
      throw meshError(
        Code.Unauthenticated,
        ErrorReason.CREDENTIALS_MISSING,
        "This service takes calls from inside of the mesh only: call the gateway, or Envoy in front of it, with an API key.",
      );
    },
    vouches: keys?.signingKey() !== undefined,
    vouch,
    warrants: warrantKeys === undefined ? localWarrants : signedWarrants({ keys: warrantKeys, issuer: options.service, clock }),
    channel: {
      credentials: tls?.channel,
      callHeaders(method) {
        const identity = currentCall()?.identity;
        return identity === undefined ? [] : vouch(identity, method);
      },
    },
    serverCredentials: tls?.server,
    pem: tls?.pem,
  };
}

function uncheckedIdentity() {
  const message = "The call brings an identity that this service has no keys to check: set RAGENTS_IDENTITY_KEYS as for the caller.";
  return meshError(Code.Unauthenticated, ErrorReason.CREDENTIALS_INVALID, message);
}

/** Who calls an RPC that is open to everybody: no tenant's. */
const ANYBODY: Identity = { tenant: "" };
