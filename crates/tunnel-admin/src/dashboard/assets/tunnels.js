// The tunnels, and one of them.

import { ask, get } from './api.js';
import { Table, attempt, confirm, empty, h, setText } from './dom.js';
import { byteRate, bytes, count, moment, rate, since } from './format.js';
import { History } from './history.js';
import { spark } from './plot.js';

const PAGE = 100;

const NONE = empty('There are no tunnels. On a laptop that has logged in:', 'tunnel http 3000');

const STATES = {
  up: ['up', 'good'],
  away: ['client away', 'meh'],
  paused: ['paused', 'meh'],
  failing: ['upstream failing', 'bad'],
};

const state = (row) => {
  const [words, tone] = STATES[row.state] ?? [row.state, 'meh'];
  return h('span', { class: `state ${tone}` }, words);
};

const link = (row) => h('a', { href: `#/tunnel/${encodeURIComponent(row.url)}`, class: 'url' }, row.url);

// What counters did between two looks.
class Rates {
  #before = new Map();

  of(rows) {
    const now = performance.now();
    const rates = new Map();
    for (const row of rows) {
      const before = this.#before.get(row.url);
      const counted = row.requests + row.connections;
      if (before && now - before.now > 500) {
        const seconds = (now - before.now) / 1000;
        rates.set(row.url, { visits: Math.max(0, counted - before.counted) / seconds, bytes: Math.max(0, row.bytes_out - before.bytes) / seconds });
      }
      this.#before.set(row.url, { now, counted, bytes: row.bytes_out });
    }
    return rates;
  }
}

export const tunnels = {
  title: 'Tunnels',
  mount(place) {
    const rates = new Rates();
    let known = new Map();
    let needle = '';
    const filter = h('input', { type: 'search', id: 'filter', placeholder: 'address, token, machine …', autocomplete: 'off' });
    const more = h('p', { class: 'hint' });
    const table = new Table({
      caption: 'Tunnels',
      key: (row) => row.url,
      columns: [
        { title: 'Address', fresh: (row) => row.url, value: link, class: 'wide' },
        { title: 'State', fresh: (row) => [row.state], value: state },
        { title: 'Upstream', class: 'break', value: (row) => row.members.map((member) => member.upstream).join(', ') || '–' },
        { title: 'Visitors', number: true, value: (row) => count(row.visitors) },
        { title: 'Per s', number: true, value: (row) => rate(known.get(row.url)?.visits ?? 0) },
        { title: 'To visitors', number: true, value: (row) => bytes(row.bytes_out) },
        { title: 'Last 10 min', fresh: (row) => row.recent, value: (row) => spark(row.recent) },
        { title: 'Token', value: (row) => row.token },
        { title: 'Machine', value: (row) => row.machine },
      ],
      empty: () => (needle ? h('div', { class: 'empty' }, h('p', {}, 'No tunnel has that in its address, token or machine.')) : NONE()),
    });
    place.append(
      h('div', { class: 'heading' }, h('h1', {}, 'Tunnels'),
        h('div', { class: 'tools' }, h('label', { for: 'filter', class: 'unseen' }, 'Show only those with'), filter)),
      table.element, more);
    const refresh = async () => {
      const asked = needle;
      const { total, tunnels: rows } = await get(`/tunnels?limit=${PAGE}&q=${encodeURIComponent(asked)}`);
      if (asked !== needle) return;
      known = rates.of(rows);
      table.update(rows);
      setText(more, total > rows.length ? `${count(rows.length)} of ${count(total)}; search to find others.` : '');
    };
    filter.addEventListener('input', () => {
      needle = filter.value.trim();
      attempt(refresh);
    });
    return { refresh, event: (event) => { if (event === 'changed') dispatchEvent(new Event('refresh')); } };
  },
};

export const tunnel = {
  title: 'Tunnel',
  mount(place, url) {
    const rates = new Rates();
    const history = new History(() => dispatchEvent(new Event('refresh')));
    const facts = h('dl', { class: 'facts' });
    const pause = h('button', { type: 'button', class: 'plain' }, 'Pause');
    const close = h('button', { type: 'button', class: 'plain danger-text' }, 'Close …');
    const members = new Table({
      caption: 'Clients that serve it',
      key: (row) => row.session,
      columns: [
        { title: 'Machine', value: (row) => row.machine },
        { title: 'Upstream', class: 'break', value: (row) => row.upstream },
        { title: 'Its state', fresh: (row) => [row.upstream_state, row.upstream_code], value: (row) => {
          const tone = { ok: 'good', failing: 'bad' }[row.upstream_state] ?? 'meh';
          const words = { ok: 'answers', failing: row.upstream_code ?? 'failing' }[row.upstream_state] ?? 'not asked yet';
          return h('span', { class: `state ${tone}` }, words);
        } },
        { title: 'Visitors', number: true, value: (row) => count(row.visitors) },
        { title: 'Session', class: 'mono', value: (row) => row.session },
      ],
      empty: empty('Its client is away; the name is kept for it.'),
    });
    const title = h('h1', { class: 'break' }, url);
    place.append(
      h('p', { class: 'crumb' }, h('a', { href: '#/tunnels' }, 'Tunnels')),
      h('div', { class: 'heading' }, title, h('div', { class: 'tools' }, pause, close)),
      facts,
      history.heading,
      h('div', { class: 'pair' }, history.plots.map((plot) => plot.element)),
      h('div', { class: 'heading' }, h('h2', {}, 'Served by')), members.element);
    let paused = false;
    pause.addEventListener('click', async () => {
      await attempt(() => ask('POST', paused ? '/tunnels/resume' : '/tunnels/pause', { url }), paused ? 'Visitors are let in again.' : 'New visitors are kept out.');
      dispatchEvent(new Event('refresh'));
    });
    close.addEventListener('click', async () => {
      const reason = await confirm({ title: 'Close this tunnel?', text: `${url} goes down with its visitors, and its client is told not to ask for it again by itself.`, verb: 'Close the tunnel', reason: 'Reason, for its client (optional)' });
      if (reason === null) return;
      const done = await attempt(() => ask('POST', '/tunnels/close', { url, reason }), 'The tunnel is closed.');
      if (done !== undefined) location.hash = '#/tunnels';
    });
    return {
      async refresh() {
        const [{ tunnels: rows }, seen] = await Promise.all([get(`/tunnels?url=${encodeURIComponent(url)}`), get(`/history?range=${history.range}&url=${encodeURIComponent(url)}`)]);
        const row = rows[0];
        pause.disabled = close.disabled = !row;
        if (!row) {
          facts.replaceChildren(h('div', {}, h('dt', {}, 'State'), h('dd', {}, 'This tunnel is gone.')));
          members.update([]);
          return;
        }
        paused = row.paused;
        setText(pause, paused ? 'Let visitors in' : 'Pause');
        const now = rates.of([row]).get(url);
        const shown = [
          ['State', state(row)],
          ['Open', row.kind === 'http' ? h('a', { href: row.url, rel: 'noreferrer noopener', target: '_blank' }, 'Visit') : h('code', {}, row.url)],
          ['Visitors now', count(row.visitors)],
          ['Per second', rate(now?.visits ?? 0)],
          ['Requests', count(row.requests)],
          ['Connections', count(row.connections)],
          ['To visitors', bytes(row.bytes_out)],
          ['From visitors', bytes(row.bytes_in)],
          ['Answers', `2xx ${count(row.answers[1])} · 3xx ${count(row.answers[2])} · 4xx ${count(row.answers[3])} · 5xx ${count(row.answers[4])}`],
          ['Token', row.token],
          ['Machine', row.machine],
          ['Since', `${moment(row.since)}, ${since(row.since)}`],
          row.policies.length ? ['Policies', row.policies.join('; ')] : null,
          Object.keys(row.refusals).length ? ['Refused', Object.entries(row.refusals).map(([code, n]) => `${code} ${count(n)}`).join(' · ')] : null,
        ].filter(Boolean);
        facts.replaceChildren(...shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
        members.update(row.members);
        history.draw(seen);
      },
      leave: () => history.leave(),
    };
  },
};
