import { hkdfSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ConnectionOptions, SecureContextOptions, TlsOptions } from "node:tls";

/** The key all nodes of a cluster share, made from its secret. */
export interface ClusterSecret {
  readonly key: Buffer;
}

const MINIMUM_BYTES = 16;

/** A new secret as text, for the file that all nodes read. */
export const generateSecret = () => randomBytes(32).toString("base64url");

/** @throws RangeError if the text, white space around it aside, is too short to be a secret. */
export function clusterSecret(text: string): ClusterSecret {
  const secret = Buffer.from(text.trim());
  if (secret.length < MINIMUM_BYTES) {
    throw new RangeError(`expected a secret of at least ${MINIMUM_BYTES} bytes`);
  }
  return { key: Buffer.from(hkdfSync("sha256", secret, "", "daysix link", 32)) };
}

/** @throws Error naming the file if it cannot be read or holds no secret. */
export function readSecret(file: string): ClusterSecret {
  try {
    return clusterSecret(readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`secret file ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * TLS 1.3 with an external pre-shared key (RFC 8446, 2.2) and ephemeral Diffie-Hellman. OpenSSL's
 * callback takes only SHA-256 suites; this one runs on AES instructions.
 */
const protocol = {
  minVersion: "TLSv1.3",
  ciphers: "TLS_AES_128_GCM_SHA256",
} as const satisfies SecureContextOptions;

const IDENTITY = "daysix";

/** For a server without a certificate: whoever does not know the key is refused. */
export function serverTls({ key }: ClusterSecret): TlsOptions {
  const pskCallback = (_socket: unknown, identity: string) => (identity === IDENTITY ? key : null);
  return { ...protocol, pskCallback, pskIdentityHint: IDENTITY };
}

export function clientTls({ key }: ClusterSecret): ConnectionOptions {
  return {
    ...protocol,
    pskCallback: () => ({ psk: key, identity: IDENTITY }),
    // Asked only about a server that shows a certificate: it does not know the key.
    checkServerIdentity: () => new Error("it shows a certificate instead of knowing the secret"),
  };
}
