// The page: which part hears what, and when. What each part does is in its own file.

import { ApiError, ask, onUnauthorized, poll, signOut } from './api.js';
import { Chart } from './chart.js';
import { LogLevel, Reloads } from './control.js';
import { askForToken, mayChange, open, prepare, signInWith, tokenOfAddress } from './dialogs.js';
import { announce, byId, pill, say } from './dom.js';
import { bytes, count, kind, rate, span } from './format.js';
import { CLASSES, History, perSecond } from './history.js';
import { Live } from './live.js';
import { Streams } from './streams.js';
import { Bridges, Certificates, Routes, Upstreams, tone } from './views.js';

/** A page that nobody sees keeps no connection for longer than this, in milliseconds. */
const HIDDEN = 30_000;

const history = new History();
const streams = new Streams();
const reloads = new Reloads();
const level = new LogLevel();
const page = { paused: false, process: null };

/** How far the server's clock is ahead of this one's, in milliseconds. */
let skew = 0;

// The graphs.

const STEADY = { '2xx': 'a', '3xx': 'c', '4xx': 'd', '5xx': 'e', '1xx': 'b', websocket: 'a', tunnel: 'a', event_stream: 'b', subscriber: 'c', subscription: 'c' };
const steady = (name, place) => STEADY[name] ?? 'abcde'[place % 5];
const place = byId('charts');
const chart = (options) => new Chart(place.appendChild(document.createElement('div')), { tone: steady, label: (name) => name, ...options });
const charts = {
  requests: chart({ title: 'Requests', unit: 'a second', format: rate, isStacked: true, total: true }),
  streams: chart({ title: 'Live streams', unit: 'now', format: count, isStacked: true, total: true, label: kind }),
  connections: chart({ title: 'Connections', unit: 'now', format: count }),
  bytes: chart({ title: 'Bytes', unit: 'a second', format: (value) => bytes(value), isSize: true, total: true }),
};

function draw() {
  if (page.paused || document.hidden) return;
  // The graphs go on while nothing is heard, and show that nothing is.
  const end = Math.max(Date.now() + skew, history.last?.at ?? 0);
  const show = (graph, names, valueOf) => graph.show(names, history.series(names, valueOf), end);
  const classes = CLASSES.slice(0, history.points.some((point) => point.requests_by_class?.['1xx']) ? 5 : 4);
  show(charts.requests, classes, perSecond((point, name) => point.requests_by_class?.[name]));
  show(charts.streams, history.kinds(), (name, point) => point.streams?.[name] ?? 0);
  show(charts.connections, ['connections'], (name, point) => point.connections);
  show(charts.bytes, ['sent', 'received'], perSecond((point, name) => (name === 'sent' ? point.bytes_out : point.bytes_in)));
}

// What is heard.

function heardPoint(point) {
  history.add(point);
  if (history.last) skew = history.last.at - Date.now();
  showState(point.state);
  streams.offer('kind', Object.keys(point.streams ?? {}), kind);
}

function showState(state) {
  pill(byId('state'), tone(state), state);
  document.title = state === 'serving' ? 'streamgate' : `${state}: streamgate`;
}

const live = new Live({
  history(told) {
    const points = Array.isArray(told) ? told : told.points;
    history.merge(points);
    if (history.last) heardPoint(points[points.length - 1]);
    draw();
  },
  status: heardPoint,
  reload(told) {
    reloads.add(told);
    refreshAll();
  },
  refused: (error) => say(byId('lost-words'), error.message),
  state: showLine,
});

const LINES = {
  lost: 'Connection lost, trying again.',
  crowded: 'Too many pages follow this process already: the graphs stand still, the tables do not.',
};

function showLine(state) {
  const banner = byId('lost');
  if (LINES[state]) say(byId('lost-words'), LINES[state]);
  const isFine = ['idle', 'opening', 'open'].includes(state);
  if (state === 'open' && !banner.hidden) announce('Connected again');
  banner.hidden = isFine || (state === 'refused' && byId('sign-in').open);
  document.body.dataset.line = state;
  if (state === 'open' || state === 'crowded') refreshAll();
}

async function refreshStatus() {
  const status = await ask('/api/status');
  // Another process has taken over: its own stream goes on where the old one's will end.
  const isAnother = page.process !== null && page.process !== status.pid;
  page.process = status.pid;
  if (isAnother) live.open();
  if (isAnother || live.state !== 'open') showState(status.state);
  mayChange(status.may_change);
  // Over TCP only a token gives that right, and it can be given back.
  byId('sign-out').hidden = !status.may_change;
  level.heard(status.log_level);
  if (status.reload) reloads.add(status.reload);
  streams.offer('kind', Object.keys(status.streams ?? {}), kind);
  const started = new Date(status.started);
  const facts = {
    version: status.version, process: status.pid, uptime: span(status.uptime_seconds), workers: count(status.workers),
    connections: `${count(status.connections)} of ${count(status.connections_limit)}`, requests: count(status.requests), file: status.config ?? 'in memory',
  };
  for (const [name, value] of Object.entries(facts)) say(byId(`fact-${name}`), value);
  byId('fact-uptime').title = `since ${started.toLocaleString()}`;
}

// When it is asked.

const may = () => !document.hidden && !page.paused && ['open', 'crowded'].includes(live.state);
const routes = new Routes((name) => streams.pick(name), (names) => streams.offer('route', names));
const tasks = [
  [3, 'facts-section', refreshStatus],
  [2, 'streams', () => streams.refresh()],
  [3, 'routes', () => routes.refresh()],
  [3, 'upstreams', withView(new Upstreams())],
  [3, 'bridges', withView(new Bridges())],
  [60, 'certificates', withView(new Certificates())],
  [60, 'reloads', () => reloads.refresh()],
  [30, 'log', () => level.refresh()],
];

function withView(view) {
  return () => view.refresh();
}

const rounds = tasks.map(([seconds, section, task]) => poll(seconds, byId(section), may, task));

function refreshAll() {
  for (const round of rounds) round();
}

setInterval(draw, 1_000);

// Who may, and what the page looks like.

onUnauthorized(() => {
  byId('sign-out').hidden = true;
  live.close();
  open('sign-in');
  byId('sign-in-again').hidden = false;
});

function entered() {
  byId('sign-in-again').hidden = true;
  live.open();
}

byId('sign-in-again').addEventListener('click', () => open('sign-in'));
byId('sign-out').addEventListener('click', async () => {
  try {
    await signOut();
    location.reload();
  } catch (error) {
    announce(error.message, 'bad');
  }
});

byId('pause').addEventListener('click', ({ currentTarget }) => {
  page.paused = !page.paused;
  currentTarget.setAttribute('aria-pressed', String(page.paused));
  if (page.paused) return;
  draw();
  refreshAll();
});

const theme = byId('theme');
function wear(name) {
  if (name === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.value = name;
}
theme.addEventListener('change', () => {
  wear(theme.value);
  try {
    localStorage.setItem('streamgate-theme', theme.value);
  } catch {
    // A browser that keeps nothing shows the theme all the same.
  }
});
function worn() {
  try {
    const kept = localStorage.getItem('streamgate-theme');
    return ['light', 'dark'].includes(kept) ? kept : 'auto';
  } catch {
    return 'auto';
  }
}

let asleep;
document.addEventListener('visibilitychange', () => {
  clearTimeout(asleep);
  if (document.hidden) {
    asleep = setTimeout(() => live.close(), HIDDEN);
  } else if (live.state === 'idle') {
    if (!byId('sign-in').open) live.open();
  } else {
    draw();
    refreshAll();
  }
});

async function start() {
  wear(worn());
  prepare();
  askForToken(entered);
  const token = tokenOfAddress();
  if (token !== null) {
    try {
      await signInWith(token);
      entered();
      return;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      announce(error.message, 'bad');
    }
  }
  live.open();
}

window.addEventListener('hashchange', () => {
  const token = tokenOfAddress();
  if (token !== null) signInWith(token).then(entered, (error) => announce(error.message, 'bad'));
});
say(byId('place'), location.host);
start();
