// One graph of ten minutes: lines or stacked areas as SVG, what they say in words, and a table of their minutes.
//
// The keyboard reads it too: the plot is a slider over time, whose text is what the graph says there.

import { SPAN, byMinute, roundUp } from './history.js';
import { draw, make, say } from './dom.js';
import { clock } from './format.js';

const WIDTH = 600;
const HEIGHT = 120;
/** A table that moves is hard to read. */
const TABLE_PAUSE = 5_000;

let charts = 0;

export class Chart {
  #options;
  #parts;
  #names = [];
  #series = [];
  #end = Date.now();
  /** The moment that is read, which stays the same while time goes on; nothing while the newest is. */
  #moment = null;
  #tableAt = 0;

  /** `options`: title, unit, format (of a value), isStacked, isSize, total (whether the values make a sum), label (of a name). */
  constructor(place, options) {
    this.#options = options;
    charts += 1;
    const id = `chart-${charts}`;
    const parts = {
      value: make('span', { class: 'value' }),
      moment: make('span', { class: 'moment' }, options.unit),
      svg: draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }),
      top: make('span', { class: 'top' }),
      middle: make('span', { class: 'middle' }),
      summary: make('p', { class: 'sr-only', id: `${id}-summary` }),
      legend: make('ul', { class: 'legend' }),
      table: make('table', {}, make('caption', { class: 'sr-only' }, `${options.title}: averages of each minute, ${options.unit}`), make('thead'), make('tbody')),
    };
    parts.plot = make('div', {
      class: 'plot', role: 'slider', tabindex: '0', 'aria-label': `${options.title} over ten minutes`,
      'aria-describedby': `${id}-summary`, 'aria-valuemin': '-600', 'aria-valuemax': '0', 'aria-valuenow': '0', 'aria-valuetext': 'now',
    }, parts.svg, parts.top, parts.middle);
    parts.details = make('details', {}, make('summary', {}, 'As a table'), make('div', { class: 'minutes' }, parts.table));
    place.append(
      make('h3', {}, options.title),
      make('p', { class: 'now' }, parts.value, ' ', parts.moment),
      parts.plot,
      make('p', { class: 'axis', 'aria-hidden': 'true' }, make('span', {}, '10 min ago'), make('span', {}, '5'), make('span', {}, 'now')),
      parts.legend, parts.summary, parts.details,
    );
    this.#parts = parts;
    this.#listen();
  }

  /** Draws these points (see `History.series`) up to the moment `end`. */
  show(names, series, end) {
    this.#names = names;
    this.#series = series;
    this.#end = end;
    this.#paint();
    this.#tell();
    this.#describe();
    this.#tabulate();
  }

  #listen() {
    const { plot, details } = this.#parts;
    const steps = { ArrowLeft: 1, ArrowDown: 1, ArrowRight: -1, ArrowUp: -1, PageDown: 60, PageUp: -60, Home: 600, End: -600 };
    plot.addEventListener('keydown', (event) => {
      const step = steps[event.key];
      if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const newest = this.#series.length - 1;
      const wanted = Math.min(Math.max(this.#place - step, 0), newest);
      this.#read(wanted === newest ? null : this.#series[wanted].at);
    });
    plot.addEventListener('pointermove', (event) => {
      const box = plot.getBoundingClientRect();
      const at = this.#end - SPAN * (1 - (event.clientX - box.left) / box.width);
      this.#read(at);
    });
    const leave = () => this.#read(null);
    plot.addEventListener('pointerleave', leave);
    plot.addEventListener('blur', leave);
    details.addEventListener('toggle', () => {
      this.#tableAt = 0;
      this.#tabulate();
    });
  }

  #read(moment) {
    this.#moment = moment;
    this.#paintCursor();
    this.#tell();
  }

  /** Where the point that is read is in the series. */
  get #place() {
    const newest = this.#series.length - 1;
    if (this.#moment === null) return newest;
    const place = this.#series.findLastIndex((point) => point.at <= this.#moment);
    return place < 0 ? Math.min(0, newest) : place;
  }

  get #point() {
    return this.#series[this.#place];
  }

  /** Nothing where nothing is known, and zero where there is nothing to add up. */
  #sum(values) {
    const known = values.filter((value) => value !== null);
    return known.length === 0 && values.length > 0 ? null : known.reduce((sum, value) => sum + value, 0);
  }

  #highest({ values }) {
    return (this.#options.isStacked ? this.#sum(values) : Math.max(...values.map((value) => value ?? 0))) ?? 0;
  }

  #x(at) {
    return WIDTH * (1 - (this.#end - at) / SPAN);
  }

  #paint() {
    const { svg, top, middle } = this.#parts;
    const { format, isSize, isStacked } = this.#options;
    const limit = roundUp(Math.max(...this.#series.map((point) => this.#highest(point)), 0), isSize);
    const y = (value) => HEIGHT - (value / limit) * (HEIGHT - 4);
    say(top, format(limit));
    say(middle, format(limit / 2));
    const shapes = [];
    for (const { at, gap } of this.#series) {
      if (gap === null) continue;
      const from = Math.max(this.#x(gap), 0);
      shapes.push(draw('rect', { class: 'gap', x: from, y: 0, width: Math.max(this.#x(at) - from, 1), height: HEIGHT }));
    }
    for (const height of [limit, limit / 2, 0]) {
      shapes.push(draw('line', { class: 'grid', x1: 0, x2: WIDTH, y1: y(height), y2: y(height) }));
    }
    const floors = this.#series.map(() => 0);
    this.#names.forEach((name, place) => {
      const line = [];
      const area = [];
      for (const run of this.#runs(place)) {
        const points = run.map((index) => {
          const value = this.#series[index].values[place];
          const floor = floors[index];
          if (isStacked) floors[index] += value;
          return { x: this.#x(this.#series[index].at).toFixed(1), y: y(floor + value).toFixed(1), floor: y(floor).toFixed(1) };
        });
        const upper = points.map((point) => `${point.x},${point.y}`).join('L');
        if (isStacked) area.push(`M${upper}L${points.toReversed().map((point) => `${point.x},${point.floor}`).join('L')}Z`);
        else line.push(`M${upper}${points.length === 1 ? 'h0.1' : ''}`);
      }
      const tone = `tone-${this.#options.tone(name, place)}`;
      shapes.push(isStacked ? draw('path', { class: `area ${tone}`, d: area.join('') }) : draw('path', { class: `line ${tone}`, d: line.join('') }));
    });
    this.#parts.cursor = draw('line', { class: 'cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' });
    svg.replaceChildren(...shapes, this.#parts.cursor);
    this.#paintCursor();
  }

  /** The indexes of the points that a line goes through without a break. */
  #runs(place) {
    const runs = [];
    let run = [];
    this.#series.forEach(({ values, gap }, index) => {
      if (gap !== null || values[place] === null) {
        if (run.length > 0) runs.push(run);
        run = [];
      }
      if (values[place] !== null) run.push(index);
    });
    if (run.length > 0) runs.push(run);
    return runs;
  }

  #paintCursor() {
    const { cursor } = this.#parts;
    if (!cursor) return;
    const isShown = this.#moment !== null && this.#point !== undefined;
    cursor.setAttribute('visibility', isShown ? 'visible' : 'hidden');
    if (!isShown) return;
    const x = this.#x(this.#point.at).toFixed(1);
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
  }

  /** The figure and the legend: of the point that is read, or of now. */
  #tell() {
    const { value, moment, legend, plot } = this.#parts;
    const { format, total, label, unit } = this.#options;
    const point = this.#point;
    const values = point?.values ?? [null];
    say(value, format(total ? this.#sum(values) : (values[0] ?? null)));
    say(moment, this.#moment === null || !point ? unit : `${unit}, ${clock(point.at)}`);
    const toned = this.#names.map((name, place) => [label(name), values[place] ?? null, this.#options.tone(name, place)]);
    if (legend.children.length !== toned.length) {
      legend.replaceChildren(...toned.map(() => make('li', {}, make('i'), make('span'), ' ', make('b'))));
    }
    toned.forEach(([words, figure, tone], place) => {
      const item = legend.children[place];
      item.children[0].className = `swatch tone-${tone}`;
      say(item.children[1], words);
      say(item.children[2], format(figure));
    });
    // Only where somebody reads: it is spoken whenever it changes.
    if (this.#moment === null) {
      plot.setAttribute('aria-valuenow', '0');
      plot.setAttribute('aria-valuetext', 'now');
      return;
    }
    const parts = toned.map(([words, figure]) => `${words} ${format(figure)}`);
    plot.setAttribute('aria-valuenow', String(Math.round((point.at - this.#end) / 1_000)));
    const figure = `${clock(point.at)}: ${value.textContent} ${unit}`;
    plot.setAttribute('aria-valuetext', parts.length > 1 ? `${figure}; ${parts.join(', ')}` : figure);
  }

  /** What the graph shows, in a sentence. */
  #describe() {
    const { format, title, unit } = this.#options;
    const totals = this.#series.map((point) => (this.#options.total ? this.#sum(point.values) : point.values[0])).filter((value) => value !== null);
    const gaps = this.#series.filter(({ gap }) => gap !== null).length;
    if (totals.length === 0) {
      say(this.#parts.summary, `${title}: nothing is known yet.`);
      return;
    }
    const low = totals.reduce((a, b) => Math.min(a, b));
    const high = totals.reduce((a, b) => Math.max(a, b));
    const told = gaps > 0 ? ` The time has ${gaps === 1 ? 'a gap' : `${gaps} gaps`} of which nothing is known.` : '';
    say(this.#parts.summary, `${title}: between ${format(low)} and ${format(high)} ${unit}.${told} The arrow keys read single moments.`);
  }

  #tabulate() {
    const { details, table } = this.#parts;
    const now = performance.now();
    if (!details.open || (this.#tableAt !== 0 && now - this.#tableAt < TABLE_PAUSE)) return;
    this.#tableAt = now;
    const { format, label } = this.#options;
    const heads = ['Minute', ...this.#names.map(label)].map((words) => make('th', { scope: 'col' }, words));
    table.tHead.replaceChildren(make('tr', {}, ...heads));
    const rows = byMinute(this.#series).map(([minute, values]) => make('tr', {},
      make('th', { scope: 'row' }, clock(minute).slice(0, 5)), ...values.map((value) => make('td', {}, format(value)))));
    table.tBodies[0].replaceChildren(...rows);
  }
}
