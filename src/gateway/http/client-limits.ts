/** What clients may hold of the server, whatever they send or leave unread. */
export const clientLimits = {
  /** Bytes of one request's body: 128K tokens in any form. */
  bodyBytes: 4 * 2 ** 20,
  /** Bytes of all bodies that are being read or parsed, 32 of the largest; who comes then gets a 503. */
  allBodiesBytes: 128 * 2 ** 20,
  /** Milliseconds in which a body has to arrive, the largest at 1.1 Mbit/s; a late one gets a 408. */
  bodyMs: 30_000,
  /** Milliseconds in which a request's headers have to arrive. */
  headersMs: 10_000,
  /**
   * Milliseconds for which a connection may be idle: longer than the pools of clients keep one, who
   * would else post into its end (aiohttp 15 s, nginx and AWS 60 s, Go's proxies 90 s).
   */
  idleMs: 100_000,
  /** Open connections; one more is closed at once. */
  connections: 2048,
  /** Milliseconds for which a client may read nothing of a stream that waits; then it is cut. */
  unreadMs: 30_000,
  /** Events of one sequence that may wait for a client to read; with one more its stream is cut. */
  unreadEvents: 8192,
  /**
   * Log-probabilities that an answer which is told at once may come to, alternatives among them, some 200 bytes
   * each; what could come to more has to be streamed.
   */
  logprobs: 2 ** 20,
};

export type ClientLimits = Readonly<typeof clientLimits>;
