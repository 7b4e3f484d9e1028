import { createPrivateKey, X509Certificate } from "node:crypto";
import { type ChannelCredentials, experimental, type ServerCredentials } from "@grpc/grpc-js";
import { ConfigError } from "../config.js";
import type { Logger } from "../logger.js";
import { openReloadingFiles } from "../reloading-files.js";

/** Where a service's certificates are, in PEM. */
export interface CertificatePaths {
  /** Its own certificate, the chain behind it included. */
  readonly cert: string;
  /** The certificate's private key. */
  readonly key: string;
  /** The certificate authorities whose certificates it trusts, in servers and clients alike. */
  readonly ca: string;
}

/** Mutual TLS: both sides of a connection show a certificate of the mesh's own authority. */
export interface MutualTls {
  readonly server: ServerCredentials;
  readonly channel: ChannelCredentials;
  /** For servers of Node's own: the files' contents now, and each time that they change. */
  readonly pem: PemFiles;
  /** Looks at the files now. Connections that are made later use what they hold. */
  reload(): Promise<void>;
  close(): void;
}

/** Certificates for servers that are not grpc-js'. */
export interface PemFiles {
  current(): Certificates;
  onChange(listener: (latest: Certificates) => void): void;
}

export interface Certificates {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/**
 * Reads certificates, and again when they change: new connections use the new ones, and what is half-written or does
 * not fit together is logged and left aside.
 * @throws ConfigError when the files cannot be read or do not fit together
 */
export async function openMutualTls(paths: CertificatePaths, logger: Logger): Promise<MutualTls> {
  const provider = new LatestCertificates();
  const listeners: ((latest: Certificates) => void)[] = [];
  const files = await openReloadingFiles([paths.cert, paths.key, paths.ca], (contents) => checked(contents, paths), {
    logger,
    onChange(certificates) {
      provider.update(certificates);
      for (const listener of listeners) listener(certificates);
    },
  });
  provider.update(files.current());
  return {
    server: experimental.createCertificateProviderServerCredentials(provider, provider, true),
    channel: experimental.createCertificateProviderChannelCredentials(provider, provider),
    pem: { current: files.current, onChange: (listener) => void listeners.push(listener) },
    reload: files.reload,
    close: files.close,
  };
}

function checked(contents: Buffer[], paths: CertificatePaths): Certificates {
  const [cert, key, ca] = contents as [Buffer, Buffer, Buffer];
  const own = parsed(() => new X509Certificate(cert), paths.cert, "certificate");
  const privateKey = parsed(() => createPrivateKey(key), paths.key, "private key");
  parsed(() => new X509Certificate(ca), paths.ca, "certificate");
  if (!own.checkPrivateKey(privateKey)) throw new ConfigError(`The key in ${paths.key} is not that of the certificate in ${paths.cert}.`);
  return { cert, key, ca };
}

function parsed<T>(parse: () => T, path: string, what: string): T {
  try {
    return parse();
  } catch {
    throw new ConfigError(`The file ${path} holds no ${what} in PEM.`);
  }
}

/** Hands certificates to grpc-js, which asks for them and for their changes. */
class LatestCertificates implements experimental.CertificateProvider {
  #latest: Certificates | undefined;
  readonly #caListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();

  update(latest: Certificates): void {
    this.#latest = latest;
    for (const listener of this.#caListeners) listener(caOf(latest));
    for (const listener of this.#identityListeners) listener(identityOf(latest));
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    this.#tell(listener, caOf);
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    this.#tell(listener, identityOf);
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
  }

  /** A listener's first update comes after its registration: a server that is told within it misses what it is told. */
  #tell<U>(listener: (update: U) => void, updateOf: (certificates: Certificates) => U): void {
    process.nextTick(() => {
      if (this.#latest !== undefined) listener(updateOf(this.#latest));
    });
  }
}

const caOf = ({ ca }: Certificates): experimental.CaCertificateUpdate => ({ caCertificate: ca });
const identityOf = ({ cert, key }: Certificates): experimental.IdentityCertificateUpdate => ({ certificate: cert, privateKey: key });
