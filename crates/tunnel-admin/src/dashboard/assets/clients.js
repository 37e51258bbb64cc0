// The clients: who is online, from where, since when.

import { ask, get } from './api.js';
import { Table, attempt, confirm, empty, h, setText } from './dom.js';
import { bytes, count, milliseconds, moment, since } from './format.js';

const PAGE = 100;

async function kick(row) {
  const who = row.machine || row.address;
  const reason = await confirm({
    title: `End the session of ${who}?`,
    text: `Its visitors are cut off. The client of the token “${row.token}” may come back after ten seconds; to keep it out, revoke the token.`,
    verb: 'End the session',
    reason: 'Reason, for the client (optional)',
  });
  if (reason === null) return;
  await attempt(() => ask('POST', `/sessions/${row.id}/kick`, { reason }), `The session of ${who} was ended.`);
  dispatchEvent(new Event('refresh'));
}

export const clients = {
  title: 'Clients',
  mount(place) {
    const more = h('p', { class: 'hint' });
    const table = new Table({
      caption: 'Clients that are logged in',
      key: (row) => row.id,
      columns: [
        { title: 'Machine', class: 'strong', value: (row) => row.machine || '–' },
        { title: 'Token', value: (row) => row.token },
        { title: 'From', class: 'mono', value: (row) => row.address },
        { title: 'Online', fresh: (row) => since(row.since), value: (row) => h('time', { datetime: row.since, title: moment(row.since) }, since(row.since)) },
        { title: 'Round trip', number: true, value: (row) => milliseconds(row.rtt_ms) },
        { title: 'Tunnels', number: true, value: (row) => count(row.tunnels) },
        { title: 'Streams', number: true, value: (row) => count(row.streams) },
        { title: 'Received', number: true, value: (row) => bytes(row.received) },
        { title: 'Sent', number: true, value: (row) => bytes(row.sent) },
        { title: 'Software', value: (row) => row.agent },
        { title: 'End', quiet: true, class: 'act', fresh: (row) => row.id, value: (row) =>
          h('button', { type: 'button', class: 'plain danger-text', 'aria-label': `End the session of ${row.machine || row.address}`, onclick: () => kick(row) }, 'End …') },
      ],
      empty: empty('Nobody is online. Make a token under Tokens, then on the laptop:', 'tunnel login HOST:PORT'),
    });
    place.append(h('div', { class: 'heading' }, h('h1', {}, 'Clients')), table.element, more);
    return {
      every: 3000,
      async refresh() {
        const { total, sessions } = await get(`/sessions?limit=${PAGE}`);
        table.update(sessions);
        setText(more, total > sessions.length ? `The latest ${count(sessions.length)} of ${count(total)}.` : '');
      },
      event: (event) => { if (event === 'changed') dispatchEvent(new Event('refresh')); },
    };
  },
};
