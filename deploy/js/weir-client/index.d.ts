/** Where a reader is in a stream: what `resume` takes. It is plain data, so it can be stored. */
export interface Position {
  /** The id of the stream (`Weir-Stream-Id`). Without credentials it is all that is needed to read the stream. */
  stream: string;
  /** The number of the last event that was read. */
  after: number;
}

/** One event. */
export interface StreamEvent {
  /** The event's own id, if it has one. */
  id?: string;
  /** The name of the event, `message` if it has none. */
  event: string;
  /** The data, its lines joined by `\n`. */
  data: string;
  /** The number of the event in its stream, from 1. Comments and heartbeats have none. */
  seq: number;
}

/** Why a stream has failed, if Weir or the agent said why. Lost connections are errors of `fetch`. */
export interface StreamError extends Error {
  /** The status of the answer: 404 for an unknown stream, 410 if the next event is no longer kept. */
  status?: number;
  /** The code in the answer, such as `resume_evicted`. */
  code?: string;
  /** With `resume_evicted`: the number of the first event that is still kept. */
  first?: number;
}

export interface Waiting {
  /** How many attempts have failed since the last event, and this one. */
  attempt: number;
  /** How long the next attempt waits, in milliseconds. */
  wait: number;
  /** What went wrong. */
  error: StreamError;
}

export interface ResumeOptions {
  /** How many attempts in a row may bring no event. Default 8. */
  retries?: number;
  /** The wait before the first attempt, in milliseconds, which doubles. `retry:` replaces it. Default 500. */
  delay?: number;
  /** Called before each wait, such as to show that the connection is lost. */
  onRetry?: (waiting: Waiting) => void;
}

/** What `fetch` takes, and how to resume. Credentials are sent again with each attempt. */
export interface StreamOptions extends RequestInit, ResumeOptions {
  /** The `fetch` to use. */
  fetch?: typeof fetch;
}

/** The events of one stream. They can be read once. */
export interface Stream extends AsyncIterable<StreamEvent> {
  /** Where the reader is. Undefined until the response is there, and if the stream does not come through Weir. */
  readonly position: Position | undefined;
  /**
   * Says that the events up to `seq` were handled. From then on `position` is behind the last of these, and not behind the
   * last event that was read: whoever resumes from it gets again what was read and not handled. Weir is not told.
   */
  ack(seq: number): void;
  /** Stops the agent's run, for all who read it. Its last event still comes. Before the response, it aborts. */
  stop(): Promise<void>;
}

/**
 * Sends a request, once, when the first event is asked for. After a cut it goes on with the events that follow.
 * Whoever leaves the loop closes the connection.
 */
export function stream(url: string | URL, options?: StreamOptions): Stream;

/** Reads a stream that was begun elsewhere, such as before a reload of the page. `origin` is the address of Weir. */
export function resume(
  origin: string | URL,
  position: { stream: string; after?: number },
  options?: StreamOptions,
): Stream;

/**
 * Returns a `fetch` for SDKs that cannot resume. The body of an event stream goes on after a cut; it has whole events
 * only, and no heartbeats. Responses without `Weir-Stream-Id` are returned as they are.
 */
export function resumingFetch(fetch?: typeof globalThis.fetch, options?: ResumeOptions): typeof globalThis.fetch;
