// The one stream that keeps the page moving, and what becomes of it when the line is lost or the process is replaced.
//
// The browser's EventSource comes back by itself after a lost connection, with the id of the last event it saw. What it does
// not do is done here: it gives up at an answer that is not 200, and waits for ever on a line that is silent but not torn.

import { ApiError, ask } from './api.js';

/** An event comes every second: after so long without one the line is dead, whatever the socket says. */
const SILENCE = 6_000;
const AGAIN = 2_000;
/** There were too many pages already. */
const LATER = 10_000;

export class Live {
  #told;
  #source;
  #heard = 0;
  #again;
  /** `idle` (closed on purpose), `opening`, `open`, `lost`, `crowded` (others have all the streams) or `refused`. */
  state = 'idle';

  /** `told`: history, status, reload (each called with the event's data) and state (called with the new one). */
  constructor(told) {
    this.#told = told;
    setInterval(() => this.#watch(), 1_000);
  }

  /** Opens the stream, anew if it was open. */
  open() {
    this.#end();
    this.#become(this.state === 'lost' ? 'lost' : 'opening');
    this.#heard = performance.now();
    const source = new EventSource('/api/live');
    this.#source = source;
    const on = (name, act) => source.addEventListener(name, (event) => {
      if (this.#source === source) act(event);
    });
    on('open', () => {
      this.#heard = performance.now();
      this.#become('open');
    });
    for (const name of ['history', 'status', 'reload']) {
      on(name, (event) => {
        this.#heard = performance.now();
        this.#become('open');
        this.#told[name](JSON.parse(event.data));
      });
    }
    on('error', () => {
      if (source.readyState === EventSource.CLOSED) {
        this.#ended();
      } else {
        this.#become('lost');
      }
    });
  }

  /** Closes it until it is opened again. */
  close() {
    this.#end();
    this.#become('idle');
  }

  #end() {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = undefined;
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#told.state(state);
  }

  /** An EventSource does not tell why it was refused: another question does. */
  async #ended() {
    this.#end();
    const { state, pause } = await this.#why();
    // Meanwhile it may have been opened anew.
    if (this.#source) return;
    this.#become(state);
    if (pause) this.#again = setTimeout(() => this.open(), pause);
  }

  async #why() {
    try {
      await ask('/api/status');
      return { state: 'crowded', pause: LATER };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401 || error.status === 403) {
        this.#told.refused(error);
        return { state: 'refused' };
      }
      return { state: 'lost', pause: AGAIN };
    }
  }

  #watch() {
    if (!this.#source || performance.now() - this.#heard < SILENCE) return;
    this.#become('lost');
    this.open();
  }
}
