// Requests as they end, the latest first.

import { get } from './api.js';
import { Table, copyable, empty, h, notice } from './dom.js';
import { bytes, clock, milliseconds } from './format.js';

const MOST = 200;

export const requests = {
  title: 'Requests',
  mount(place) {
    const list = new RequestList({ most: MOST });
    const filter = h('input', { type: 'search', id: 'filter', placeholder: 'host, path, code, address …', autocomplete: 'off' });
    filter.addEventListener('input', () => list.filter(filter.value));
    const hold = h('button', { type: 'button', class: 'plain', 'aria-pressed': 'false' }, 'Hold still');
    hold.addEventListener('click', () => {
      const isHeld = list.hold();
      hold.setAttribute('aria-pressed', String(isHeld));
    });
    place.append(
      h('div', { class: 'heading' }, h('h1', {}, 'Requests'),
        h('div', { class: 'tools' }, h('label', { for: 'filter', class: 'unseen' }, 'Show only those with'), filter, hold)),
      h('p', { class: 'hint' }, 'As they end. Nothing is noted while nobody looks.'),
      list.element,
      list.detail,
    );
    list.load();
    return { every: 60_000, event: (event, rows) => {
      if (event === 'requests') list.add(rows);
      if (event === 'skipped') list.skip(rows.requests);
    } };
  },
};

const haystack = (row) => [row.method, row.host, row.path, row.status, row.code, row.visitor, row.tunnel, row.id].join(' ').toLowerCase();

// What a row is about, in words.
function what(row) {
  if (row.kind !== 'http') return row.tunnel ?? row.kind;
  return row.host === null ? '(a request that could not be read)' : `${row.host}${row.path ?? ''}`;
}

export function statusClass(row) {
  if (row.code || (row.status ?? 0) >= 500 || !row.whole) return 'bad';
  return (row.status ?? 0) >= 400 ? 'meh' : 'good';
}

export class RequestList {
  #rows = [];
  #waiting = [];
  #held = false;
  #needle = '';
  #most;
  #table;

  constructor({ most }) {
    this.#most = most;
    this.detail = h('div', { class: 'detail', 'aria-live': 'polite' });
    this.#table = new Table({
      caption: 'Requests, the latest first',
      key: (row) => row.id,
      columns: [
        { title: 'Time', class: 'time', value: (row) => clock(row.at) },
        { title: 'Status', class: 'status', fresh: (row) => [row.status, row.code], value: (row) => [
          h('span', { class: statusClass(row) }, row.status === null ? (row.code ? 'refused' : row.kind) : String(row.status)),
          row.code ? h('span', { class: 'code' }, ` ${row.code}`) : null,
        ] },
        { title: 'Method', class: 'method', value: (row) => row.method ?? row.kind.toUpperCase() },
        { title: 'What', class: 'what', fresh: (row) => row.id, value: (row) =>
          h('button', { type: 'button', class: 'text', title: what(row), onclick: () => this.#show(row) }, what(row)) },
        { title: 'Visitor', class: 'visitor', value: (row) => row.visitor },
        { title: 'Took', number: true, value: (row) => milliseconds(row.total_ms) },
        { title: 'Sent', number: true, value: (row) => bytes(row.bytes_out) },
      ],
      empty: empty('No requests since somebody began to look. Ask for a page of a tunnel:', 'curl -i http://NAME.DOMAIN/'),
    });
    this.element = this.#table.element;
    this.element.classList.add('requests');
    this.#table.update([]);
  }

  async load() {
    try {
      this.add((await get('/requests')).requests);
    } catch (error) {
      if (error.code !== 'not-signed-in') notice(error.message, true);
    }
  }

  // Rows in the order they ended.
  add(rows) {
    if (this.#held) {
      this.#waiting = [...this.#waiting, ...rows].slice(-this.#most);
      return;
    }
    const known = new Set(this.#rows.map((row) => row.id));
    const fresh = rows.filter((row) => !known.has(row.id)).reverse();
    this.#rows = [...fresh, ...this.#rows].sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0)).slice(0, this.#most);
    this.#draw();
  }

  skip(count) {
    this.element.dataset.skipped = `${count} more in this moment`;
  }

  hold() {
    this.#held = !this.#held;
    if (!this.#held) this.add(this.#waiting.splice(0));
    return this.#held;
  }

  filter(text) {
    this.#needle = text.trim().toLowerCase();
    this.#draw();
  }

  #draw() {
    const needle = this.#needle;
    this.#table.update(needle ? this.#rows.filter((row) => haystack(row).includes(needle)) : this.#rows);
  }

  #show(row) {
    const place = this.detail.isConnected ? this.detail : null;
    if (!place) {
      location.hash = '#/requests';
      return;
    }
    const facts = [
      ['Request id', copyable(row.id)],
      ['Tunnel', row.tunnel ?? 'none for this host'],
      ['Protocol', row.version ?? row.kind],
      ['Waited for a client', milliseconds(row.queued_ms)],
      ['First byte', milliseconds(row.first_byte_ms)],
      ['In all', milliseconds(row.total_ms)],
      ['From the visitor', bytes(row.bytes_in)],
      ['To the visitor', bytes(row.bytes_out)],
      ['Ended', row.whole ? 'as it should' : 'cut off'],
    ];
    place.replaceChildren(
      h('div', { class: 'heading' }, h('h2', { class: 'break' }, `${row.method ?? row.kind.toUpperCase()} ${what(row)}`),
        h('button', { type: 'button', class: 'plain', onclick: () => place.replaceChildren() }, 'Close')),
      h('dl', { class: 'facts' }, facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))));
    place.scrollIntoView({ block: 'nearest' });
  }
}
