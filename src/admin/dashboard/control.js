// What the operator changes beside the streams: reloads, and the level of the log.

import { ask } from './api.js';
import { announce, byId, make, pill, say } from './dom.js';
import { allowed, consent, open } from './dialogs.js';
import { clock, several } from './format.js';
import { tone } from './views.js';

/** Reloads that the list keeps. */
const KEPT = 20;

export class Reloads {
  #seen = new Map();

  constructor() {
    byId('reload').addEventListener('click', () => this.#plan());
    consent('reload-plan', () => this.#reload());
  }

  async refresh() {
    this.add(await ask('/api/reload'));
  }

  /** A reload that was done, or tried. */
  add(told) {
    if (!told || told.outcome === 'none' || told.outcome === 'planned') return;
    const key = `${told.at} ${told.outcome}`;
    if (this.#seen.has(key)) return;
    this.#seen.set(key, told);
    const list = byId('reloads-list');
    list.prepend(entry(told));
    while (list.children.length > KEPT) list.lastElementChild.remove();
    byId('reloads-empty').hidden = true;
    if (this.#seen.size > KEPT) this.#seen.delete(this.#seen.keys().next().value);
  }

  /** First it is told what would change: a reload of a running process is no place for surprises. */
  async #plan() {
    if (!allowed()) return;
    const [words, list] = [byId('plan-words'), byId('plan-list')];
    const yes = byId('reload-plan').querySelector('button[value=yes]');
    say(words, 'Reading the configuration…');
    list.replaceChildren();
    yes.disabled = true;
    open('reload-plan');
    try {
      const told = await ask('/api/reload?plan', { method: 'POST', also: [409, 422] });
      const changes = told.changes ?? [];
      say(words, told.outcome === 'refused' ? 'The configuration cannot be put in force:'
        : changes.length > 0 ? 'This would change:' : 'Nothing would change.');
      list.replaceChildren(...lines(told));
      yes.disabled = told.outcome === 'refused' || changes.length === 0;
    } catch (error) {
      say(words, error.message);
    }
  }

  async #reload() {
    const told = await ask('/api/reload', { method: 'POST', also: [409, 422] });
    this.add(told);
    const went = told.outcome === 'refused' ? 'The reload was refused' : told.outcome === 'unchanged' ? 'Nothing had changed' : 'Reloaded';
    announce(went, told.outcome === 'refused' ? 'bad' : 'fine');
  }
}

/** What changes, or what is wrong, in lines. */
function lines(told) {
  if (told.error) return [make('li', {}, make('pre', {}, told.error))];
  return (told.changes ?? []).map((change) => make('li', {}, change.line ?? `${change.kind} ${change.name}: ${change.change}`));
}

function entry(told) {
  const state = make('span');
  pill(state, tone(told.outcome), told.outcome);
  const moment = new Date(told.at * 1_000);
  const time = make('time', { datetime: moment.toISOString() }, clock(moment));
  time.title = moment.toLocaleString();
  const changes = told.changes?.length ? several(told.changes.length, 'change') : '';
  return make('li', {}, time, ' ', state, ' ', changes, make('ul', { class: 'lines' }, ...lines(told)));
}

/** The log's level. */
export class LogLevel {
  #select = byId('level');
  #current;

  constructor() {
    byId('log-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (allowed()) this.#set();
    });
  }

  /** The level that is in force. */
  heard(level) {
    if (!level || level === this.#current) return;
    this.#current = level;
    say(byId('level-now'), level);
    if (![...this.#select.options].some((option) => option.value === level)) this.#select.append(make('option', {}, level));
    this.#select.value = level;
  }

  async refresh() {
    this.heard((await ask('/api/log')).level);
  }

  async #set() {
    const body = { level: this.#select.value, for: byId('level-for').value };
    try {
      await ask('/api/log', { method: 'PUT', body });
      announce(`The log tells ${body.level} for ${byId('level-for').selectedOptions[0].textContent}`);
      this.heard(body.level);
    } catch (error) {
      announce(error.message, 'bad');
    }
  }
}
