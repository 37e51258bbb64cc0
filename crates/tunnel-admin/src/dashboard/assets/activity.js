// What was done, by whom: the audit log, and this month's traffic.

import { get } from './api.js';
import { Table, attempt, empty, h } from './dom.js';
import { bytes, count, moment } from './format.js';

const PAGE = 100;

export const activity = {
  title: 'Activity',
  mount(place) {
    let entries = [];
    const usage = new Table({
      caption: 'Traffic of this month, by token',
      key: (row) => row.token,
      columns: [
        { title: 'Token', class: 'strong', value: (row) => row.token },
        { title: 'Requests', number: true, value: (row) => count(row.requests) },
        { title: 'Connections', number: true, value: (row) => count(row.connections) },
        { title: 'To visitors', number: true, value: (row) => bytes(row.bytes_out) },
        { title: 'From visitors', number: true, value: (row) => bytes(row.bytes_in) },
        { title: 'Of its month', number: true, value: (row) => (row.monthly_bytes ? `${count(((row.bytes_in + row.bytes_out) / row.monthly_bytes) * 100)} % of ${bytes(row.monthly_bytes)}` : 'no limit') },
      ],
      empty: empty('No token carried anything this month.'),
    });
    const table = new Table({
      caption: 'What was done, the latest first',
      key: (row) => row.id,
      columns: [
        { title: 'When', class: 'time', value: (row) => moment(row.at) },
        { title: 'What', class: 'strong', value: (row) => row.what },
        { title: 'About', class: 'break', value: (row) => row.about || '–' },
        { title: 'By', value: (row) => row.by },
        { title: 'More', class: 'break', value: (row) => row.detail || '–' },
      ],
      empty: empty('Nothing was written down yet. Whatever is done here, or by commands on the server, will be.'),
    });
    const older = h('button', { type: 'button', class: 'plain', hidden: true }, 'Show older');
    older.addEventListener('click', () => attempt(async () => {
      const page = await get(`/audit?limit=${PAGE}&before=${entries.at(-1).id}`);
      entries = [...entries, ...page.entries];
      older.hidden = page.entries.length < PAGE;
      table.update(entries);
    }));
    place.append(
      h('div', { class: 'heading' }, h('h1', {}, 'Activity')),
      h('div', { class: 'heading' }, h('h2', {}, 'Traffic of this month')), usage.element,
      h('div', { class: 'heading' }, h('h2', {}, 'What was done')), table.element, older);
    return {
      every: 5000,
      async refresh() {
        const [page, month] = await Promise.all([get(`/audit?limit=${PAGE}`), get('/usage')]);
        const oldest = page.entries.at(-1)?.id ?? 0;
        if (entries.length === 0) older.hidden = page.entries.length < PAGE;
        entries = [...page.entries, ...entries.filter((entry) => entry.id < oldest)];
        table.update(entries);
        usage.update(month.usage);
      },
    };
  },
};
