// The last ten minutes: points as the API tells them, and what happened between two of them. All of it is pure.

/** How far back the graphs go, in milliseconds. */
export const SPAN = 600_000;

/** Points further apart than this have a gap between them: one a second is told. */
const GAP = 3_500;

/** The classes of a response's status, in the order in which they are drawn. */
export const CLASSES = ['2xx', '3xx', '4xx', '5xx', '1xx'];

export class History {
  points = [];

  /** A point at the end. */
  add(told) {
    this.merge([told]);
  }

  /** Points that the server remembers. They replace what is known of their time: another process may have told that. */
  merge(told) {
    const fresh = told.map((point) => ({ ...point, at: Date.parse(point.t) })).filter((point) => Number.isFinite(point.at));
    if (fresh.length === 0) return;
    fresh.sort((a, b) => a.at - b.at);
    const first = fresh[0].at;
    const last = fresh[fresh.length - 1].at;
    const before = this.points.filter((point) => point.at < first && point.at > last - SPAN);
    this.points = before.concat(fresh);
  }

  /** The newest point, if there is one. */
  get last() {
    return this.points[this.points.length - 1];
  }

  /** What is to be drawn: a value of each name for each point, `null` where nothing is known. */
  series(names, valueOf) {
    const { points } = this;
    return points.map((point, at) => {
      const before = points[at - 1];
      const isAfterGap = at > 0 && point.at - before.at > GAP;
      const values = names.map((name) => valueOf(name, point, isAfterGap ? undefined : before) ?? null);
      return { at: point.at, values, gap: isAfterGap ? before.at : null };
    });
  }

  /** The kinds of streams that were live, in a steady order. */
  kinds() {
    const kinds = new Set();
    for (const point of this.points) for (const kind of Object.keys(point.streams ?? {})) kinds.add(kind);
    return [...kinds].sort();
  }
}

/** How much of a count came in a second, between two points; nothing where the count began anew with another process. */
export function perSecond(read) {
  return (name, point, before) => {
    if (!before) return null;
    const [now, then] = [read(point, name) ?? 0, read(before, name) ?? 0];
    return now < then ? null : ((now - then) * 1_000) / (point.at - before.at);
  };
}

/** The average of each value, by minute, newest first: `[[time, [value, …]], …]`. */
export function byMinute(series) {
  const minutes = new Map();
  for (const { at, values } of series) {
    const minute = Math.floor(at / 60_000) * 60_000;
    const sums = minutes.get(minute) ?? values.map(() => [0, 0]);
    values.forEach((value, place) => {
      if (value === null) return;
      sums[place][0] += value;
      sums[place][1] += 1;
    });
    minutes.set(minute, sums);
  }
  const averages = [...minutes].map(([minute, sums]) => [minute, sums.map(([sum, number]) => (number ? sum / number : null))]);
  return averages.reverse();
}

/** The next round number from here up: 1, 2 or 5 times a power of ten, of two for sizes. */
export function roundUp(number, isSize = false) {
  if (number <= (isSize ? 1024 : 4)) return isSize ? 1024 : 4;
  if (isSize) return 2 ** Math.ceil(Math.log2(number));
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= number) ?? 10 * power;
}
