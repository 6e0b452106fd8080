// The tables that only show: routes, upstreams, certificates, bridges.

import { ask } from './api.js';
import { Table, buttonCell, byId, make, say, stateCell, twoLines } from './dom.js';
import { NONE, brief, bytes, count, day, several, span, words } from './format.js';

const TONES = {
  up: 'fine', open: 'fine', serving: 'fine', done: 'fine', unchanged: 'fine',
  down: 'bad', refused: 'bad', waiting: 'wary', connecting: 'wary', reconnecting: 'wary', draining: 'wary',
};
const tone = (state) => TONES[state] ?? 'calm';

const byStatus = (status) => (route, cell) => {
  const number = route.requests?.[status] ?? 0;
  cell.classList.toggle('nothing', number === 0);
  return brief(number);
};

/** The routes. `pick` is called with the name of the one whose streams are asked for. */
export class Routes {
  names = [];
  #heard;
  #table;

  constructor(pick, heard) {
    this.#heard = heard;
    const columns = [
      (route, cell) => twoLines(cell, route.name, [route.methods?.join(', '), route.auth && `auth ${route.auth}`].filter(Boolean).join(' · ')),
      (route) => route.action,
      byStatus('2xx'), byStatus('3xx'), byStatus('4xx'), byStatus('5xx'),
      (route, cell) => buttonCell(cell, route, {
        text: count(route.streams ?? 0), label: `${several(route.streams ?? 0, 'live stream')} of ${route.name}: show`,
        kind: 'link', press: (pressed) => pick(pressed.name),
      }),
    ];
    // Routes that differ in their methods alone have one name.
    this.#table = new Table(byId('routes-table'), columns, (route) => `${route.name} ${route.methods?.join() ?? ''}`);
  }

  async refresh() {
    const { routes } = await ask('/api/routes');
    this.names = routes.map((route) => route.name);
    this.#table.update(routes);
    byId('routes-empty').hidden = routes.length > 0;
    this.#heard(this.names);
  }
}

/** Parts of a section that have a heading and a table each, by name. */
class Parts {
  #place;
  #heads;
  #columns;
  #key;
  #parts = new Map();

  constructor(place, heads, columns, key) {
    this.#place = place;
    this.#heads = heads;
    this.#columns = columns;
    this.#key = key;
  }

  /** Shows `items` of each part: `[{ name, note, items }]`. */
  update(parts) {
    const names = new Set(parts.map((part) => part.name));
    for (const [name, part] of this.#parts) {
      if (names.has(name)) continue;
      part.element.remove();
      this.#parts.delete(name);
    }
    for (const { name, note, items } of parts) {
      const part = this.#parts.get(name) ?? this.#begin(name);
      say(part.note, note);
      part.table.update(items);
      part.empty.hidden = items.length > 0;
    }
  }

  #begin(name) {
    const heads = this.#heads.map(([text, kind]) => make('th', { scope: 'col', class: kind }, text));
    const table = make('table', {}, make('caption', { class: 'sr-only' }, name), make('thead', {}, make('tr', {}, ...heads)), make('tbody'));
    const note = make('span', { class: 'note-beside' });
    const empty = make('p', { class: 'empty' }, 'None at this time.');
    const element = make('div', { class: 'part' }, make('h3', {}, name, ' ', note), table, empty);
    this.#place.append(element);
    const part = { element, note, empty, table: new Table(table, this.#columns, this.#key) };
    this.#parts.set(name, part);
    return part;
  }
}

/** The upstreams, and how their servers stand. */
export class Upstreams {
  #parts = new Parts(byId('upstreams-parts'),
    [['Server'], ['State'], ['For', 'number'], ['Active', 'number'], ['Weight', 'number']],
    [
      (server, cell) => twoLines(cell, server.url, server.address && !server.url.includes(server.address) ? server.address : ''),
      (server, cell) => stateCell(cell, tone(server.state), words(server.state), server.cause),
      (server) => span(server.since_seconds),
      (server) => count(server.active),
      (server) => count(server.weight),
    ],
    (server) => `${server.url} ${server.address ?? ''}`);

  async refresh() {
    const { upstreams } = await ask('/api/upstreams');
    this.#parts.update(upstreams.map(({ name, balance, servers }) => ({ name, note: words(balance), items: servers })));
    byId('upstreams-empty').hidden = upstreams.length > 0;
    const down = upstreams.flatMap(({ servers }) => servers).filter(({ state }) => state === 'down').length;
    say(byId('upstreams-note'), down > 0 ? `${several(down, 'server')} down` : '');
  }
}

/** The bridges, and their channels. */
export class Bridges {
  #parts = new Parts(byId('bridges-parts'),
    [['Channel'], ['Feed'], ['Subscribers', 'number'], ['Log', 'number'], ['Oldest', 'number'], ['Last id'], ['Reconnects', 'number']],
    [
      (channel, cell) => twoLines(cell, channel.channel || '(the only one)', channel.url),
      (channel, cell) => stateCell(cell, tone(channel.state), words(channel.state),
        channel.cause ?? (channel.since_seconds == null ? '' : `for ${span(channel.since_seconds)}`)),
      (channel) => count(channel.subscribers),
      (channel, cell) => twoLines(cell, several(channel.log?.messages ?? 0, 'event'), bytes(channel.log?.bytes ?? 0)),
      (channel) => span(channel.log?.oldest_age_seconds),
      (channel, cell) => {
        cell.classList.add('mono');
        return channel.last_id ?? NONE;
      },
      (channel) => count(channel.reconnects),
    ],
    (channel) => `${channel.channel} ${channel.url}`);

  async refresh() {
    const { bridges } = await ask('/api/bridges');
    this.#parts.update(bridges.map(({ name, store, channels_total: total, channels }) => ({
      name, items: channels,
      note: `${several(total, 'channel')}, ${store}${channels.length < total ? `; the first ${count(channels.length)} are shown` : ''}`,
    })));
    byId('bridges-empty').hidden = bridges.length > 0;
  }
}

/** The certificates, and how long they live. */
export class Certificates {
  #table = new Table(byId('certificates-table'),
    [
      (certificate, cell) => twoLines(cell, certificate.names.join(', ') || '(no name)', certificate.file),
      (certificate, cell) => {
        const left = certificate.days_left;
        if (left == null) return stateCell(cell, 'calm', 'not known', '');
        const mood = left < 7 ? 'bad' : left < 21 ? 'wary' : 'fine';
        return stateCell(cell, mood, left < 0 ? 'expired' : `${several(Math.floor(left), 'day')} left`, '');
      },
      (certificate) => day(certificate.not_after),
      (certificate) => (certificate.ocsp ? 'stapled' : NONE),
    ],
    (certificate) => `${certificate.file ?? ''} ${certificate.names.join()} ${certificate.not_after}`);

  async refresh() {
    const { certificates } = await ask('/api/certificates');
    this.#table.update(certificates);
    byId('certificates-empty').hidden = certificates.length > 0;
  }
}

export { tone };
