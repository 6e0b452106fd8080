// Numbers, sizes and times as a person reads them. All of it is pure.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** What stands where nothing is known. */
export const NONE = '–';

/** A count: `12,345`. */
export const count = (number) => (number == null ? NONE : whole.format(number));

/** A count in little room: `12.3K`. */
export const brief = (number) => (number == null ? NONE : number < 10_000 ? whole.format(number) : short.format(number));

/** So many a second: a small rate keeps a tenth. */
export function rate(number) {
  if (number == null) return NONE;
  return number < 10 ? tenths.format(number) : brief(number);
}

/** A size: `1.5 MiB`. */
export function bytes(number) {
  if (number == null) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${(unit > 0 && number < 100 ? tenths : whole).format(number)} ${units[unit]}`;
}

/** A length of time by its two largest parts: `2 h 5 min`. */
export function span(seconds) {
  if (seconds == null) return NONE;
  const parts = [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]];
  let left = Math.max(0, Math.round(seconds));
  const said = [];
  for (const [unit, length] of parts) {
    const number = Math.floor(left / length);
    left -= number * length;
    if (number > 0) said.push(`${number} ${unit}`);
    if (said.length === 2 || (said.length === 1 && number === 0)) break;
  }
  return said.join(' ') || '0 s';
}

const hours = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat('en', { year: 'numeric', month: 'short', day: 'numeric' });

/** A moment of today: `14:03:59`, on the operator's clock. */
export const clock = (moment) => hours.format(moment);

/** The day of a moment as the API writes it: `Nov 21, 2026`. */
export const day = (text) => (text ? days.format(Date.parse(text)) : NONE);

const KINDS = {
  tunnel: 'WebSocket', websocket: 'WebSocket', event_stream: 'Event stream', subscription: 'Bridge client', subscriber: 'Bridge client',
};

/** A kind of stream in the operator's words; one that is not known here keeps its own. */
export const kind = (word) => KINDS[word] ?? words(word);

/** A word of the API without its underscores. */
export const words = (word) => String(word ?? NONE).replaceAll('_', ' ');

/** One thing or several: `1 stream`, `2 streams`. */
export const several = (number, one) => `${count(number)} ${number === 1 ? one : `${one}s`}`;
