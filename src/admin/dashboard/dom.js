// How anything gets onto the page: text only, never markup. What the API tells (names of routes, of users) is hostile.

export const byId = (id) => document.getElementById(id);

/** An element with these attributes (`class`, `aria-…`, …; false and null leave one out) and children, which are nodes or text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** The same for SVG. */
export function draw(name, attributes = {}) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Sets a text where it differs, so that nothing is drawn or read out anew for nothing. */
export function say(element, text) {
  const wanted = String(text ?? '');
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** The state of a thing: a dot and a word, so that no colour has to be told from another. */
export function pill(element, tone, word) {
  element.className = `pill ${tone}`;
  say(element, word);
}

/** Tells something once, to eyes and to screen readers. */
export function announce(text, tone = 'fine') {
  const place = byId('announcer');
  const note = make('p', { class: `note ${tone}` }, text);
  place.append(note);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => note.remove(), 8_000);
}

/**
 * A table whose rows are kept by key: what is focused or selected in one stays so while its values change.
 *
 * `columns`: for each column of the head a function of (item, cell) that fills the cell, or returns its text.
 */
export class Table {
  #rows = new Map();
  #body;
  #columns;
  #key;
  #labels;

  constructor(table, columns, key) {
    // Laid out as cards on a narrow page, a table would not be one any more for some screen readers.
    table.setAttribute('role', 'table');
    for (const part of table.querySelectorAll('thead, tbody')) part.setAttribute('role', 'rowgroup');
    table.tHead.rows[0].setAttribute('role', 'row');
    const heads = [...table.tHead.rows[0].cells];
    for (const head of heads) head.setAttribute('role', 'columnheader');
    this.#labels = heads.map((head) => ({ text: head.textContent, class: head.className }));
    this.#body = table.tBodies[0];
    this.#columns = columns;
    this.#key = key;
  }

  /** Shows these items, in this order. */
  update(items) {
    const wanted = new Map();
    for (const item of items) {
      let key = this.#key(item);
      // None hides another, whatever names the API tells.
      while (wanted.has(key)) key += ' again';
      wanted.set(key, item);
    }
    // First of all: what stays would else be moved past what goes, and lose its focus.
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let at = this.#body.firstElementChild;
    for (const [key, item] of wanted) {
      const row = this.#row(key);
      this.#fill(row, item);
      if (row === at) at = at.nextElementSibling;
      else this.#body.insertBefore(row, at);
    }
  }

  #row(key) {
    const known = this.#rows.get(key);
    if (known) return known;
    const cells = this.#labels.map((label, at) => make(at === 0 ? 'th' : 'td', {
      role: at === 0 ? 'rowheader' : 'cell', scope: at === 0 ? 'row' : null, class: label.class || null, 'data-label': label.text,
    }));
    const row = make('tr', { role: 'row' }, ...cells);
    this.#rows.set(key, row);
    return row;
  }

  #fill(row, item) {
    this.#columns.forEach((column, at) => {
      const text = column(item, row.cells[at]);
      if (text !== undefined) say(row.cells[at], text);
    });
  }
}

/** A cell of a main line and one below it; the cell's two elements are made once. */
export function twoLines(cell, main, below) {
  if (cell.children.length === 0) cell.append(make('span', { class: 'main' }), make('small'));
  say(cell.children[0], main);
  say(cell.children[1], below);
  cell.children[1].hidden = !below;
}

/** A cell with a state and, below it, its cause. */
export function stateCell(cell, tone, word, cause) {
  if (cell.children.length === 0) cell.append(make('span'), make('small'));
  pill(cell.children[0], tone, word);
  say(cell.children[1], cause);
  cell.children[1].hidden = !cause;
}

/** The button of a cell, made once. `press` is called with what the button is for now. */
export function buttonCell(cell, item, { text, label, press, kind = 'quiet' }) {
  let button = cell.firstElementChild;
  if (!button) {
    button = make('button', { type: 'button', class: kind });
    button.addEventListener('click', () => press(button.item, button));
    cell.append(button);
  }
  button.item = item;
  say(button, text);
  if (button.getAttribute('aria-label') !== label) button.setAttribute('aria-label', label);
}
