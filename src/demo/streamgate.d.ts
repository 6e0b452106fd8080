// Types of streamgate.js.

/** A way to listen. */
export type Way = "sse" | "websocket" | "poll";

/** Where the client is: `ended` is for ever, the others pass. */
export type State = "connecting" | "open" | "waiting" | "ended";

/** What is known of an event besides its data. */
export interface About {
  event: string;
  id: string;
}

/** How a stream begins. */
export interface Opened {
  channel: string;
  /** Whether it goes on where this client was. */
  resumed: boolean;
  /** How many earlier events come first. */
  replay: number;
  /** The session's name, in session mode. */
  session: string | null;
}

/** Something was missed. */
export interface Gap {
  reason: string;
  /** How many events; null where nobody can know. */
  missed?: number | null;
  /** Of a message that was too long. */
  bytes?: number;
  /** How long the feed was away. */
  down_ms?: number;
}

/** How the feed, or streamgate, is. */
export interface Status {
  upstream?: string;
  state?: string;
  [more: string]: unknown;
}

/** Why there will be nothing more. */
export interface Ended {
  reason: "finished" | "refused";
  /** 204 where the feed is over; else 401, 403, 404, 405 or 410. */
  status: number;
}

export interface Callbacks {
  /** Events without a name. */
  message?(data: string, about: About): void;
  /** Events by name: `{ price(data) { … } }`. */
  events?: Record<string, (data: string, about: About) => void>;
  open?(opened: Opened, about: { way: Way }): void;
  gap?(gap: Gap, about: About): void;
  status?(status: Status, about: About): void;
  state?(state: State, way: Way): void;
  /** Once at most, and not after `close()`. */
  ended?(why: Ended): void;
}

export interface Options {
  /** Where to go on: an id, `earliest` or `latest`. Default: where the bridge's `start` says. */
  lastEventId?: string;
  /** A session to take up. */
  session?: string;
  /** The ways to try, in order. Default: all three. */
  ways?: Way[];
  /** How long a way may stay without a first event, in ms. Default 5000; 0: it stays. */
  patience?: number;
  /** How long a way may be silent before it is opened anew, in ms. Default 0: for ever. */
  silence?: number;
  /** Cookies to another origin. Default false. */
  withCredentials?: boolean;
}

export interface Sent {
  /** 204: handed to the feed; 200: with its reply. */
  status: number;
  reply: string;
}

export interface SendOptions {
  /** Tries in all, where it may pass. Default 3. */
  attempts?: number;
  /** The Content-Type, where it is not the usual one. */
  type?: string;
}

export class SendError extends Error {
  /** The answer's status; 0: there was none. */
  readonly status: number;
  readonly body: string;
}

export class Streamgate {
  constructor(url: string | URL, on?: Callbacks, options?: Options);
  readonly lastEventId: string;
  readonly session: string | null;
  readonly state: State;
  readonly way: Way;
  /** Text as it is, bytes as a binary message, all else as JSON. Fails with a SendError. */
  send(data: string | BufferSource | Blob | object, options?: SendOptions): Promise<Sent>;
  close(): void;
}

export default Streamgate;
