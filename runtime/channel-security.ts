import type { DescMethod } from "@bufbuild/protobuf";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

/** How a connection's client shows who it is and knows whom it talks to. */
export interface ChannelSecurity {
  /** TLS of the connection. Default: none. */
  readonly credentials?: ChannelCredentials | undefined;
  /** Headers that say who calls; asked for every call. */
  readonly callHeaders?: (method: DescMethod) => readonly (readonly [name: string, value: string])[];
}

/** How a program outside of the mesh shows who it is. */
export interface ClientSecurityOptions {
  /** An API key or token, sent with every call. */
  apiKey?: string | undefined;
  /** Whether to connect by TLS: true trusts the system's certificate authorities, `ca` those of a PEM text. Default: in the clear. */
  tls?: boolean | { ca: string | Buffer };
  /** Takes the place of both: how services of the mesh call each other. */
  security?: ChannelSecurity | undefined;
}

/** The security of a client's connection, by its options. */
export function channelSecurity({ apiKey, tls, security }: ClientSecurityOptions): ChannelSecurity {
  if (security !== undefined) return security;
  const ca = typeof tls === "object" ? Buffer.from(tls.ca) : undefined;
  return {
    credentials: tls === undefined || tls === false ? undefined : credentials.createSsl(ca),
    callHeaders: () => (apiKey === undefined ? [] : [["authorization", `Bearer ${apiKey}`]]),
  };
}
