// The live streams: search, filters, pages, and an end to one of them or to all that a filter finds.

import { ask } from './api.js';
import { Table, announce, buttonCell, byId, make, say, twoLines } from './dom.js';
import { allowed, consent, mark, open } from './dialogs.js';
import { NONE, bytes, clock, count, kind, several, span } from './format.js';

const PAGE = 25;
/** Typing is over when nothing came for so long, in milliseconds. */
const TYPED = 250;

export class Streams {
  #form = byId('filters');
  #table;
  /** The last id of each page before this one. */
  #pages = [];
  #next = null;
  #asked = 0;
  #chosen = null;
  /** The filters as the last answer was asked for by them, and how many streams it found. */
  #found = { filters: '', matched: 0 };
  /** The filters of the drain that is asked about. */
  #ending;
  #typed;

  constructor() {
    const columns = [
      (stream, cell) => twoLines(cell, kind(stream.kind), stream.id),
      (stream) => stream.route,
      (stream, cell) => twoLines(cell, stream.client, stream.user),
      (stream) => stream.backend,
      (stream, cell) => {
        cell.title = `since ${clock(Date.parse(stream.opened))}`;
        return span(stream.age_seconds);
      },
      (stream) => span(stream.idle_seconds),
      (stream, cell) => twoLines(cell, bytes(stream.bytes_in), messages(stream.messages_in)),
      (stream, cell) => twoLines(cell, bytes(stream.bytes_out), messages(stream.messages_out)),
      (stream) => (stream.lag_seconds == null ? NONE : stream.lag_seconds < 1 ? 'none' : span(stream.lag_seconds)),
      (stream, cell) => buttonCell(cell, stream, {
        text: 'Close', label: `Close the ${kind(stream.kind)} of ${stream.client} on ${stream.route}`, kind: 'change', press: (pressed) => this.#ask(pressed),
      }),
    ];
    this.#table = new Table(byId('streams-table'), columns, (stream) => `${stream.worker} ${stream.id} ${stream.client}`);
    this.#listen();
  }

  #listen() {
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    this.#form.addEventListener('input', () => {
      clearTimeout(this.#typed);
      this.#typed = setTimeout(() => this.#restart(), TYPED);
    });
    byId('clear').addEventListener('click', () => {
      this.#form.reset();
      this.#restart();
      this.#form.elements.q.focus();
    });
    byId('previous').addEventListener('click', () => this.#turn(() => this.#pages.pop()));
    byId('next').addEventListener('click', () => this.#turn(() => this.#pages.push(this.#next)));
    byId('drain').addEventListener('click', () => this.#askAll());
    consent('close-stream', () => this.#close());
    consent('drain-streams', () => this.#drain());
  }

  /** Shows the streams of one route. */
  pick(route) {
    this.#form.reset();
    this.#form.elements.route.value = route;
    this.#restart();
    byId('streams-heading').focus();
  }

  /** The kinds and routes that there are to choose from. */
  offer(name, values, label = (value) => value) {
    const select = this.#form.elements[name];
    const known = new Set([...select.options].map((option) => option.value));
    for (const value of values) {
      if (!known.has(value)) select.append(make('option', { value }, label(value)));
    }
  }

  #filters() {
    const filters = new URLSearchParams();
    for (const name of ['q', 'kind', 'route', 'client']) {
      const value = this.#form.elements[name].value.trim();
      if (value) filters.set(name, value);
    }
    return filters;
  }

  async #restart() {
    this.#pages = [];
    await this.#turn(() => {});
    // Read out after a search, and not whenever a stream comes or goes.
    say(byId('found'), byId('streams-count').textContent);
  }

  async #turn(step) {
    step();
    try {
      await this.refresh();
    } catch (error) {
      say(byId('streams-count'), error.message);
    }
  }

  async refresh() {
    this.#asked += 1;
    const asked = this.#asked;
    const filters = this.#filters();
    const query = new URLSearchParams(filters);
    query.set('limit', String(PAGE));
    const after = this.#pages[this.#pages.length - 1];
    if (after) query.set('after', after);
    const told = await ask(`/api/streams?${query}`);
    // An answer that was overtaken is about another question.
    if (asked !== this.#asked) return;
    this.#next = told.next;
    this.#table.update(told.streams);
    mark(byId('streams-table'));
    this.#found = { filters: String(filters), matched: told.matched };
    this.#describe(told, filters);
  }

  #describe({ total, matched, streams }, filters) {
    const isFiltered = [...filters].length > 0;
    const from = this.#pages.length * PAGE;
    say(byId('streams-count'), isFiltered ? `${count(matched)} of ${several(total, 'live stream')}` : several(total, 'live stream'));
    say(byId('streams-empty'), isFiltered && total > 0 ? 'No live stream is as it is asked for.' : 'No stream lives at this time.');
    byId('streams-empty').hidden = streams.length > 0;
    byId('pages').hidden = this.#pages.length === 0 && !this.#next;
    say(byId('page'), streams.length > 0 ? `${count(from + 1)} to ${count(from + streams.length)}` : NONE);
    byId('previous').disabled = this.#pages.length === 0;
    byId('next').disabled = !this.#next;
    const canDrain = isFiltered && !filters.has('q') && matched > 0;
    const drain = byId('drain');
    drain.dataset.off = String(!canDrain);
    drain.title = canDrain ? '' : 'Choose a kind, a route or a client first, and search for nothing';
    mark(drain.parentElement);
  }

  #ask(stream) {
    if (!allowed()) return;
    this.#chosen = stream;
    const facts = [
      ['Kind', kind(stream.kind)], ['Route', stream.route], ['Client', [stream.client, stream.user].filter(Boolean).join(', ')],
      ['Backend', stream.backend], ['Open for', span(stream.age_seconds)], ['Id', stream.id],
    ];
    byId('close-facts').replaceChildren(...facts.map(([term, value]) => make('div', {}, make('dt', {}, term), make('dd', {}, value))));
    say(byId('close-outcome'), outcome(stream.kind));
    open('close-stream');
  }

  async #close() {
    const stream = this.#chosen;
    const told = await ask(`/api/streams/${encodeURIComponent(stream.id)}`, { method: 'DELETE', also: [404] });
    announce(told.closed ? `Closed the ${kind(stream.kind)} of ${stream.client}` : 'That stream had ended already');
    byId('streams-heading').focus();
    setTimeout(() => this.#turn(() => {}), 300);
  }

  async #askAll() {
    if (!allowed()) return;
    // The form may have changed since the last answer, whose number is of other streams then.
    if (this.#found.filters !== String(this.#filters())) await this.#restart();
    const asked = this.#filters();
    if (this.#found.filters !== String(asked)) {
      announce('It is not known yet how many streams that is: try again', 'wary');
      return;
    }
    if (byId('drain').dataset.off === 'true') {
      announce(byId('drain').title, 'wary');
      return;
    }
    this.#ending = asked;
    const filters = [...asked].map(([name, value]) => `${name} ${name === 'kind' ? kind(value) : value}`);
    say(byId('drain-what'), `${several(this.#found.matched, 'stream')} at this time: ${filters.join(', ')}. New ones are taken as before.`);
    open('drain-streams');
  }

  async #drain() {
    const query = new URLSearchParams(this.#ending);
    query.set('over', byId('drain-over').value);
    const { closing } = await ask(`/api/streams/drain?${query}`, { method: 'POST' });
    announce(`Closing ${several(closing, 'stream')}`);
  }
}

const messages = (number) => (number ? several(number, 'message') : '');

/** What the client hears, so that nobody has to guess before the button is pressed. */
function outcome(word) {
  if (word === 'tunnel' || word === 'websocket') return 'Both sides hear a Close with 1001, “closed by the operator”.';
  if (word === 'event_stream') return 'It ends between two events; a browser’s EventSource comes back by itself.';
  return 'It ends in order, and the client comes back where it was.';
}
