// Making the page. Text goes in as text and nowhere as markup, so what a stranger wrote stays what it is: text.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A table that is brought up to date in place, so that focus, selection and place on the page stay.
// A column: { title, value(row) → text or node, number?, wide?, fresh? }. Nodes are made once for each row, unless the
// column says by `fresh(row)` what they depend on.
export class Table {
  #columns;
  #rows = new Map();
  #body = h('tbody', { role: 'rowgroup' });
  #key;
  #empty;

  constructor({ caption, columns, key, empty }) {
    this.#columns = columns;
    this.#key = key;
    this.#empty = empty;
    const heads = columns.map((column) =>
      h('th', { scope: 'col', role: 'columnheader', class: column.number ? 'number' : null },
        column.quiet ? h('span', { class: 'quiet-head' }, column.title) : column.title));
    this.table = h('table', { role: 'table' },
      h('caption', { class: 'unseen' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)),
      this.#body);
    this.element = h('div', { class: 'table' }, this.table);
  }

  update(rows) {
    const seen = new Set();
    let place = this.#body.firstChild;
    for (const row of rows) {
      const key = this.#key(row);
      seen.add(key);
      let kept = this.#rows.get(key);
      if (!kept) {
        kept = this.#make();
        this.#rows.set(key, kept);
      }
      this.#columns.forEach((column, at) => this.#cell(kept, column, at, row));
      if (kept.element === place) place = place.nextSibling;
      else this.#body.insertBefore(kept.element, place);
    }
    for (const [key, { element }] of this.#rows) {
      if (!seen.has(key)) {
        element.remove();
        this.#rows.delete(key);
      }
    }
    this.#showEmpty(rows.length === 0);
  }

  #make() {
    const cells = this.#columns.map((column) =>
      h('td', { role: 'cell', 'data-label': column.quiet ? '' : column.title, class: [column.number && 'number', column.class].filter(Boolean).join(' ') || null }));
    return { element: h('tr', { role: 'row' }, cells), cells, made: [] };
  }

  #cell(kept, column, at, row) {
    const cell = kept.cells[at];
    if (column.fresh) {
      const state = JSON.stringify(column.fresh(row));
      if (kept.made[at] === state) return;
      kept.made[at] = state;
      const value = column.value(row);
      cell.replaceChildren(...[value].flat().filter((part) => part !== null && part !== undefined));
      return;
    }
    setText(cell, column.value(row));
  }

  #showEmpty(isEmpty) {
    const shown = this.element.lastChild !== this.table;
    if (isEmpty === shown) return;
    this.table.hidden = isEmpty;
    if (isEmpty) this.element.append(this.#empty());
    else this.element.lastChild.remove();
  }
}

// What to do when there is nothing to show: words, and the next command to type.
export const empty = (words, command) => () =>
  h('div', { class: 'empty' }, h('p', {}, words), command ? copyable(command, 'Copy command') : null);

// Text to be copied, with a button that does it.
export function copyable(text, label = 'Copy') {
  const button = h('button', { type: 'button', class: 'plain', 'aria-label': `${label}: ${text.length > 80 ? 'the text shown' : text}` }, 'Copy');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = 'Press Ctrl-C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  const code = h('code', {}, text);
  return h('span', { class: 'copyable' }, code, button);
}

// Says something in passing, read out too.
export function notice(text, isBad = false) {
  const place = document.getElementById('notice');
  place.replaceChildren(h('p', { class: isBad ? 'bad' : null }, text));
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => place.replaceChildren(), isBad ? 8000 : 4000);
}

// A dialog that is filled by `build(close)`; resolves with what it is closed with, or null.
export function dialog(title, build) {
  const element = document.getElementById('dialog');
  return new Promise((resolve) => {
    let result = null;
    const close = (value) => {
      result = value;
      element.close();
    };
    element.setAttribute('aria-labelledby', 'dialog-title');
    element.replaceChildren(h('h2', { id: 'dialog-title' }, title), build(close));
    element.addEventListener('close', () => {
      element.replaceChildren();
      resolve(result);
    }, { once: true });
    element.showModal();
  });
}

// Asks before something is done that people will feel; resolves with the reason given, or null.
export function confirm({ title, text, verb, reason }) {
  return dialog(title, (close) => {
    const input = reason ? h('input', { name: 'reason', id: 'reason', maxlength: '200', autocomplete: 'off' }) : null;
    const form = h('form', { method: 'dialog' },
      h('p', {}, text),
      input ? h('div', { class: 'field' }, h('label', { for: 'reason' }, reason), input) : null,
      h('div', { class: 'actions' },
        h('button', { type: 'button', class: 'plain', onclick: () => close(null) }, 'Cancel'),
        h('button', { type: 'submit', class: 'danger' }, verb)));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      close(input ? input.value : '');
    });
    return form;
  });
}

// Carries something out and says how it ended.
export async function attempt(work, done) {
  try {
    const result = await work();
    if (done) notice(done);
    return result;
  } catch (error) {
    notice(error.message, true);
    return undefined;
  }
}
