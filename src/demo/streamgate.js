// A feed of streamgate's in a browser: EventSource where streams get through, a WebSocket or long polls where something
// on the way holds them back, and POST for the way back. No dependencies; docs/browser-client.md tells how to use it.
//
// What it adds to a bare EventSource, which works too: it comes back after answers that end one for ever, finds out
// where streams are buffered, keeps its place when the way changes, and sends in order.
//
// Invariants: at most one way is open at any time, and what an older one still says is not heard; the cursor moves
// only with what the page has been given; every wait ends by itself.

/** The ways to listen, in the order in which they are tried. */
const WAYS = { sse: overEventSource, websocket: overWebSocket, poll: overPolls };
/** Answers that coming back does not change. All others pass. */
const FINAL = [401, 403, 404, 405, 410];
/** The longest wait before the next try, in ms; the first is at most a second. */
const LONGEST_WAIT = 60_000;
/** How long a browser that comes back by itself may take until it is there, in ms. */
const LONGEST_RETURN = 120_000;
/** How long a request of ours may go unanswered, in ms: longer than any poll waits at the server. */
const REQUEST = 60_000;
/** A poll that comes back at once with nothing is not repeated faster than this, in ms. */
const EMPTY_POLL = 1_000;
/** Messages that may wait to be sent. */
const OUTBOX = 64;
const OWN = ['streamgate.open', 'streamgate.gap', 'streamgate.status', 'streamgate.ping'];

/** Why a message was not sent, as far as is known. */
export class SendError extends Error {
  /** @param {string} message @param {number} status 0: nothing came back. @param {string} body */
  constructor(message, status, body = '') {
    super(message);
    this.name = 'SendError';
    this.status = status;
    this.body = body;
  }
}

/** One feed, followed until it is closed, finished or refused. */
export class Streamgate {
  #url;
  #on;
  #options;
  #cursor;
  #session = null;
  #state = 'waiting';
  #way = 0;
  // What is open now, and how it is shut. Whatever belongs to another one is not heard any more.
  #line = null;
  #timer;
  #silence;
  #failures = 0;
  #number = 1;
  #outbox = Promise.resolve();
  #waiting = 0;

  /**
   * @param {string | URL} url The path of the bridge.
   * @param {object} on Callbacks: `message`, `events` (by name), `open`, `gap`, `status`, `state`, `ended`.
   * @param {object} options `lastEventId`, `session`, `ways`, `patience`, `silence`, `withCredentials`.
   */
  constructor(url, on = {}, options = {}) {
    this.#url = new URL(url, globalThis.location?.href).href;
    this.#on = on;
    this.#options = { ways: Object.keys(WAYS), patience: 5_000, silence: 0, withCredentials: false, ...options };
    this.#silence = this.#options.silence;
    this.#cursor = options.lastEventId ?? '';
    this.#session = options.session ?? null;
    for (const way of this.#options.ways) if (!WAYS[way]) throw new TypeError(`no way to listen: ${way}`);
    if (!this.#options.ways.length) throw new TypeError('no way to listen');
    this.#open(0);
  }

  /** The id of the newest event that the page was given; `''` before the first. */
  get lastEventId() { return this.#cursor; }
  /** The session's name, in session mode. */
  get session() { return this.#session; }
  /** `connecting`, `open`, `waiting` or `ended`. */
  get state() { return this.#state; }
  /** How it listens now: `sse`, `websocket` or `poll`. */
  get way() { return this.#options.ways[this.#way]; }

  /** Listens no more. `ended` is not called: the page knows. */
  close() {
    this.#shut();
    this.#become('ended');
  }

  /**
   * Sends a message to the feed, after those that were sent before. Text goes as it is, bytes as a binary message, all
   * else as JSON. Settles with the status and the reply, if the bridge waits for one; fails with a SendError.
   */
  send(data, { attempts = 3, type } = {}) {
    if (this.#waiting >= OUTBOX) return Promise.reject(new SendError('too many messages wait to be sent', 0));
    this.#waiting += 1;
    // One key for all tries of a message: what did arrive is not said twice.
    const message = { ...encoded(data, type), key: randomKey() };
    const sent = this.#outbox.then(() => this.#post(message, attempts));
    this.#outbox = sent.then(() => {}, () => {}).finally(() => { this.#waiting -= 1; });
    return sent;
  }

  #open(way) {
    this.#shut();
    this.#way = way;
    this.#become('connecting');
    const line = { heard: false, shut: () => {} };
    this.#line = line;
    const current = (act) => (...values) => { if (this.#line === line) act(...values); };
    const end = {
      address: (query) => this.#address(query),
      cursor: () => this.#cursor,
      names: ['message', 'binary', ...Object.keys(this.#on.events ?? {}), ...OWN],
      withCredentials: this.#options.withCredentials,
      event: current((name, data, id) => this.#event(line, name, data, id)),
      alive: current(() => this.#alive(line)),
      begun: current(() => { if (!line.heard) this.#arm(this.#options.patience, () => this.#next(line)); }),
      broken: current(() => this.#broken(line)),
      refused: current(() => this.#ask(line)),
      lost: current((pause) => this.#lost(line, pause)),
      final: current((status) => this.#end({ reason: status === 204 ? 'finished' : 'refused', status })),
    };
    this.#arm(this.#options.patience, () => this.#next(line));
    try {
      line.shut = WAYS[this.way](end);
    } catch (error) {
      // A constructor that refuses: a policy of the page's, or a browser without this way.
      report(error);
      this.#next(line);
    }
  }

  /** Nothing came for too long. What has worked is opened again, what has not gives way to the next. */
  #next(line) {
    if (line.heard) return this.#open(this.#way);
    if (this.#way + 1 < this.#options.ways.length) return this.#open(this.#way + 1);
    this.#wait(0);
  }

  /** The browser comes back by itself, when it was told to: `retry:` can be minutes where many return at once. */
  #broken(line) {
    this.#become('connecting');
    const { patience } = this.#options;
    this.#arm(patience && (line.heard ? LONGEST_RETURN : 3 * patience), () => this.#next(line));
    line.heard = false;
  }

  #lost(line, pause = 0) {
    this.#wait(line.heard ? this.#way : this.#way + 1, pause);
  }

  /** Waits, longer each time and never as long as the others do, before the next try. */
  #wait(way, pause = 0) {
    this.#shut();
    this.#become('waiting');
    const longest = Math.min(LONGEST_WAIT, 1_000 * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    const next = way < this.#options.ways.length ? way : 0;
    this.#arm(pause + longest * (0.3 + 0.7 * Math.random()), () => this.#open(next));
  }

  /** An EventSource that has given up tells nobody why: the same request again says which status it was. */
  async #ask(line) {
    line.shut();
    this.#become('waiting');
    const asked = new AbortController();
    line.shut = () => asked.abort();
    this.#arm(REQUEST, () => this.#lost(line));
    let status = 0;
    let pause = 0;
    try {
      const answer = await fetch(this.#address({ lastEventId: this.#cursor }), {
        headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal: asked.signal, credentials: this.#credentials(),
      });
      status = answer.status;
      pause = retryAfter(answer);
    } catch { /* nothing came back: that passes */ }
    if (this.#line !== line) return;
    if (status === 204) return this.#end({ reason: 'finished', status });
    if (FINAL.includes(status)) return this.#end({ reason: 'refused', status });
    this.#wait(0, pause);
  }

  #event(line, name, data, id) {
    this.#alive(line);
    if (id) this.#cursor = id;
    const told = OWN.includes(name) ? parsed(data) : null;
    if (name === 'streamgate.open') this.#opened(told);
    else if (name === 'streamgate.gap') this.#call(this.#on.gap, told, { event: name, id });
    else if (name === 'streamgate.status') this.#call(this.#on.status, told, { event: name, id });
    else if (name === 'streamgate.ping') this.#watch(line, told);
    else this.#call(name === 'message' ? this.#on.message : this.#on.events?.[name], data, { event: name, id });
    // A feed that is over says so by its last id; coming back would only be answered by 204.
    if (this.#line === line && this.#cursor.endsWith('-end')) this.#end({ reason: 'finished', status: 204 });
  }

  #opened(told) {
    const session = told.session ?? null;
    if (session !== this.#session) this.#number = 1;
    this.#session = session;
    this.#call(this.#on.open, told, { way: this.way });
  }

  /** Heartbeats that the page can see come at an interval: three that are missing are a dead connection. */
  #watch(line, told) {
    if (told?.interval > 0) this.#silence = 3 * told.interval;
    this.#alive(line);
  }

  #alive(line) {
    line.heard = true;
    this.#failures = 0;
    this.#become('open');
    this.#arm(this.#silence, () => this.#open(this.#way));
  }

  #end(why) {
    this.close();
    this.#call(this.#on.ended, why);
  }

  #shut() {
    clearTimeout(this.#timer);
    const line = this.#line;
    this.#line = null;
    line?.shut();
  }

  /** One timer for all waits; 0 is none. */
  #arm(after, act) {
    clearTimeout(this.#timer);
    if (after) this.#timer = setTimeout(act, after);
  }

  #become(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#call(this.#on.state, state, this.way);
  }

  /** A callback that throws is the page's fault, and stops nothing here. */
  #call(callback, ...values) {
    try {
      callback?.(...values);
    } catch (error) {
      report(error);
    }
  }

  #address(query) {
    const address = new URL(this.#url);
    if (this.#session) address.searchParams.set('session', this.#session);
    for (const [name, value] of Object.entries(query)) if (value) address.searchParams.set(name, value);
    return address;
  }

  #credentials() { return this.#options.withCredentials ? 'include' : 'same-origin'; }

  async #post({ body, type, key }, attempts) {
    for (let left = attempts - 1; ; left -= 1) {
      const session = this.#session;
      const headers = { 'Content-Type': type, 'Idempotency-Key': key };
      if (session) Object.assign(headers, { 'Streamgate-Session': session, 'Streamgate-Seq': String(this.#number) });
      const answer = await this.#ship(body, headers);
      if (answer.ok) {
        if (session === this.#session) this.#number += 1;
        return { status: answer.status, reply: answer.body };
      }
      if (!left || !this.#mayRepeat(answer, session)) this.#giveUp(answer, session);
      await new Promise((resume) => setTimeout(resume, answer.pause + 1_000 * Math.random()));
    }
  }

  /** Whether the same message may be tried again: it was not taken, or taking it twice is prevented by its key. */
  #mayRepeat(answer, session) {
    if (answer.status !== 409) return [0, 429, 503].includes(answer.status);
    const expected = Number(parsed(answer.body)?.expected);
    if (!(expected > 0) || session !== this.#session) return false;
    this.#number = expected;
    return true;
  }

  #giveUp(answer, session) {
    // A message of which nobody knows whether it arrived has used its number: the next one under it would be
    // taken for a repeat. If it did not arrive, 409 says so and the number is corrected.
    if (session === this.#session && [0, 504].includes(answer.status)) this.#number += 1;
    // The session is gone: the stream is opened anew, and `open` tells of another one.
    if (answer.status === 410 && session === this.#session && this.#line) {
      this.#session = null;
      this.#open(this.#way);
    }
    throw new SendError(answer.status ? `answered ${answer.status}` : 'no answer', answer.status, answer.body);
  }

  async #ship(body, headers) {
    const asked = new AbortController();
    const timer = setTimeout(() => asked.abort(), REQUEST);
    try {
      const answer = await fetch(this.#url, { method: 'POST', headers, body, signal: asked.signal, credentials: this.#credentials() });
      return { ok: answer.ok, status: answer.status, body: await answer.text(), pause: retryAfter(answer) };
    } catch {
      return { ok: false, status: 0, body: '', pause: 0 };
    } finally {
      clearTimeout(timer);
    }
  }
}

export default Streamgate;

function overEventSource(end) {
  const source = new EventSource(end.address({ lastEventId: end.cursor() }), { withCredentials: end.withCredentials });
  for (const name of new Set(end.names)) {
    source.addEventListener(name, (event) => end.event(name, event.data, event.lastEventId));
  }
  source.addEventListener('open', () => end.begun());
  source.addEventListener('error', () => (source.readyState === 2 ? end.refused() : end.broken()));
  return () => source.close();
}

function overWebSocket(end) {
  const address = end.address({ lastEventId: end.cursor() });
  address.protocol = address.protocol.replace('http', 'ws');
  const socket = new WebSocket(address, ['streamgate.v1.json']);
  socket.addEventListener('message', ({ data }) => {
    const event = parsed(data);
    if (event) end.event(event.event || 'message', event.data, event.id);
  });
  socket.addEventListener('close', ({ code }) => (code === 4401 ? end.final(401) : end.lost()));
  return () => socket.close();
}

function overPolls(end) {
  const asked = new AbortController();
  followPolls(end, asked.signal).catch(() => end.lost());
  return () => asked.abort();
}

async function followPolls(end, signal) {
  for (let last = null; !signal.aborted;) {
    const began = Date.now();
    // Whatever is a poll has `after`, a first one without a value.
    const address = end.address({ after: end.cursor() });
    if (!end.cursor()) address.searchParams.set('after', '');
    const credentials = end.withCredentials ? 'include' : 'same-origin';
    const timer = setTimeout(() => end.lost(), REQUEST);
    const asked = fetch(address, { headers: { Accept: 'application/json' }, cache: 'no-store', credentials, signal });
    const answer = await asked.finally(() => clearTimeout(timer));
    if (answer.status === 204 || FINAL.includes(answer.status)) return end.final(answer.status);
    if (!answer.ok) return end.lost(retryAfter(answer));
    const told = await answer.json();
    if (signal.aborted) return;
    deliver(end, told, last);
    last = told;
    if (!told.events.length && Date.now() - began < EMPTY_POLL) {
      await new Promise((resume) => setTimeout(resume, EMPTY_POLL));
    }
  }
}

/** What a poll brought since the last one, in the order of a stream. */
function deliver(end, told, last) {
  const { channel, session = null, gap, events, cursor, upstream } = told;
  end.alive();
  if (gap) end.event('streamgate.gap', gap);
  if (!last) end.event('streamgate.open', { channel, session, resumed: Boolean(end.cursor()) && !gap, replay: events.length });
  for (const { event, id, data } of events) end.event(event || 'message', data, id);
  if (upstream && upstream !== (last?.upstream ?? 'up')) end.event('streamgate.status', { upstream });
  // The cursor may be past the last event: what was filtered moves it too.
  end.event('streamgate.ping', {}, cursor);
}

function encoded(data, type) {
  if (typeof data === 'string') return { body: data, type: type ?? 'text/plain; charset=utf-8' };
  const bytes = data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
  if (bytes) return { body: data, type: type ?? 'application/octet-stream' };
  return { body: JSON.stringify(data), type: type ?? 'application/json' };
}

function parsed(data) {
  if (typeof data !== 'string') return data ?? {};
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

/** `Retry-After` in ms; only its form in seconds is used by streamgate. */
function retryAfter(answer) {
  return Math.min(1_000 * Number(answer.headers.get('Retry-After')) || 0, LONGEST_WAIT);
}

function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function report(error) {
  (globalThis.reportError ?? console.error)(error);
}
