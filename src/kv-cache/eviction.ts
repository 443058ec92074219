/** What a store knows of a blob without reading it. */
export interface StoredBlob {
  readonly name: string;
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly usedAt: number;
}

export interface StoreLimits {
  /** Bytes of content in all. */
  readonly maxBytes: number;
  /** Milliseconds a blob is kept after its last use. */
  readonly maxAgeMs: number;
}

export function isExpired(usedAt: number, now: number, { maxAgeMs }: StoreLimits): boolean {
  return now - usedAt > maxAgeMs;
}

/** @throws Error for content that would not fit if nothing else were kept */
export function expectToFit(bytes: number, { maxBytes }: StoreLimits): void {
  if (bytes <= maxBytes) return;
  throw new Error(`a block of ${bytes} bytes is over the store's limit of ${maxBytes}`);
}

/**
 * What must go before `room` more bytes come: all that has expired and, where the rest and the
 * newcomer exceed the limit, the least recently used.
 */
export function evictions(
  blobs: readonly StoredBlob[],
  limits: StoreLimits,
  room: number,
  now: number,
): StoredBlob[] {
  const gone = blobs.filter(({ usedAt }) => isExpired(usedAt, now, limits));
  const kept = blobs.filter(({ usedAt }) => !isExpired(usedAt, now, limits));
  let excess = kept.reduce((sum, { bytes }) => sum + bytes, room - limits.maxBytes);
  kept.sort((a, b) => a.usedAt - b.usedAt || (a.name < b.name ? -1 : 1));
  for (const blob of kept) {
    if (excess <= 0) break;
    excess -= blob.bytes;
    gone.push(blob);
  }
  return gone;
}
