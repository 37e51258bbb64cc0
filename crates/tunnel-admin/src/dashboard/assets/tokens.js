// Tokens and reservations: making, changing and ending them.

import { ask, get } from './api.js';
import { Table, attempt, confirm, copyable, dialog, empty, h } from './dom.js';
import { bytes, calendar, count } from './format.js';

const GRACES = [['0', 'at once'], ['3600', 'after an hour'], ['86400', 'after a day'], ['604800', 'after a week']];

const refresh = () => dispatchEvent(new Event('refresh'));
const list = (text) => text.split(/[\s,]+/).filter(Boolean);

// The field's number, or null for an empty one; with k, M, G as in commands.
function size(text) {
  const match = text.trim().match(/^(\d+(?:\.\d+)?)\s*([kMGT]?)B?$/i);
  if (text.trim() === '') return null;
  if (!match) throw new Error(`“${text}” is no size; write it as 500M or 2G`);
  const power = ' kmgt'.indexOf(match[2].toLowerCase() || ' ');
  return Math.round(Number(match[1]) * 1000 ** power);
}

const sizeText = (n) => {
  if (n === null) return '';
  const units = ['', 'k', 'M', 'G', 'T'];
  let at = 0;
  while (n % 1000 === 0 && n >= 1000 && at < 4) { n /= 1000; at += 1; }
  return `${n}${units[at]}`;
};

function inWords(rights) {
  const words = [
    rights.kinds.length ? rights.kinds.join(', ') : null,
    rights.subdomains.length ? `names ${rights.subdomains.join(', ')}` : null,
    rights.domains.length ? `domains ${rights.domains.join(', ')}` : null,
    rights.tcp_ports.length ? `TCP ${rights.tcp_ports.join(', ')}` : null,
    rights.udp_ports.length ? `UDP ${rights.udp_ports.join(', ')}` : null,
    rights.max_tunnels === null ? null : `${count(rights.max_tunnels)} tunnels`,
    rights.max_connections === null ? null : `${count(rights.max_connections)} visitors at a time`,
    rights.bandwidth === null ? null : `${bytes(rights.bandwidth)}/s`,
    rights.monthly_bytes === null ? null : `${bytes(rights.monthly_bytes)} a month`,
    rights.expires === null ? null : `until ${calendar(rights.expires)}`,
  ].filter(Boolean);
  return words.length ? words.join(' · ') : 'whatever the server allows everybody';
}

const FIELDS = [
  { name: 'subdomains', label: 'Subdomains', hint: 'Such as dev-*; empty: all that are not reserved', get: (r) => r.subdomains.join(' '), set: list },
  { name: 'domains', label: 'Domains of its own', hint: 'Such as app.example.com or *.dev.example.com', get: (r) => r.domains.join(' '), set: list },
  { name: 'tcp_ports', label: 'TCP ports', hint: 'Such as 20000-20010; empty: all', get: (r) => r.tcp_ports.join(' '), set: list },
  { name: 'udp_ports', label: 'UDP ports', hint: 'Such as 20000-20010; empty: all', get: (r) => r.udp_ports.join(' '), set: list },
  { name: 'max_tunnels', label: 'Tunnels at a time', hint: 'Empty: no limit of its own', number: true, get: (r) => r.max_tunnels ?? '', set: size },
  { name: 'max_connections', label: 'Visitors at a time', hint: 'On all its tunnels together', number: true, get: (r) => r.max_connections ?? '', set: size },
  { name: 'bandwidth', label: 'Bytes per second', hint: 'Each way; such as 5M', get: (r) => sizeText(r.bandwidth), set: size },
  { name: 'monthly_bytes', label: 'Bytes per month', hint: 'Both ways together; such as 200G', get: (r) => sizeText(r.monthly_bytes), set: size },
  { name: 'expires', label: 'Ends on', hint: 'At the beginning of that day (UTC)', type: 'date', get: (r) => r.expires?.slice(0, 10) ?? '', set: (text) => (text ? `${text}T00:00:00Z` : null) },
];
const KINDS = ['http', 'tcp', 'tls', 'udp'];
const NONE = { subdomains: [], domains: [], kinds: [], tcp_ports: [], udp_ports: [], max_tunnels: null, max_connections: null, bandwidth: null, monthly_bytes: null, expires: null };

// The form for a new token (`name` is null) or for one's rights; `send` gets what was entered and says how it went.
function form({ name, rights, verb, send, close }) {
  const complaint = h('p', { class: 'bad', role: 'alert' });
  const called = name === null ? h('input', { id: 'token-name', name: 'name', required: true, maxlength: '64', autocomplete: 'off', placeholder: 'who or what will use it' }) : null;
  const inputs = FIELDS.map((field) => h('input', { id: `right-${field.name}`, type: field.type ?? 'text', inputmode: field.number ? 'numeric' : null, autocomplete: 'off', 'aria-describedby': `hint-${field.name}` }));
  FIELDS.forEach((field, at) => { inputs[at].value = field.get(rights); });
  const kinds = KINDS.map((kind) => h('input', { type: 'checkbox', id: `kind-${kind}`, value: kind }));
  kinds.forEach((box) => { box.checked = rights.kinds.length === 0 || rights.kinds.includes(box.value); });
  const body = h('div', { class: 'grid' },
    FIELDS.map((field, at) => h('div', { class: 'field' },
      h('label', { for: inputs[at].id }, field.label), inputs[at],
      h('span', { class: 'hint', id: `hint-${field.name}` }, field.hint))));
  const boxes = h('fieldset', {}, h('legend', {}, 'Kinds of tunnels'),
    kinds.map((box) => h('label', { class: 'check' }, box, box.value)));
  const element = h('form', { method: 'dialog' },
    called ? h('div', { class: 'field' }, h('label', { for: 'token-name' }, 'Name'), called) : null,
    called ? h('details', {}, h('summary', {}, 'Limit what it may do'), boxes, body) : [boxes, body],
    complaint,
    h('div', { class: 'actions' },
      h('button', { type: 'button', class: 'plain', onclick: () => close(null) }, 'Cancel'),
      h('button', { type: 'submit' }, verb)));
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      const entered = { ...NONE };
      FIELDS.forEach((field, at) => { entered[field.name] = field.set(inputs[at].value); });
      const chosen = kinds.filter((box) => box.checked).map((box) => box.value);
      if (chosen.length === 0) throw new Error('choose at least one kind of tunnel');
      entered.kinds = chosen.length === KINDS.length ? [] : chosen;
      close(await send(entered, called?.value.trim()));
    } catch (error) {
      complaint.textContent = error.message;
    }
  });
  return element;
}

const showSecret = ({ token, secret }) => dialog(`The token “${token.name}”`, (close) => h('div', {},
  h('p', {}, 'This is shown once and can’t be shown again. On the laptop:'),
  copyable(`tunnel login ${location.hostname}:4444 --token ${secret}`, 'Copy command'),
  h('p', { class: 'hint' }, 'Or the token alone:'),
  copyable(secret, 'Copy token'),
  h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => close(true) }, 'I have copied it'))));

async function create() {
  const issued = await dialog('New token', (close) => form({
    name: null, rights: NONE, verb: 'Make token', close,
    send: (rights, name) => ask('POST', '/tokens', { name, rights }),
  }));
  if (issued) await showSecret(issued);
  refresh();
}

async function edit(row) {
  await dialog(`What “${row.name}” may do`, (close) => form({
    name: row.name, rights: row.rights, verb: 'Save', close,
    send: (rights) => ask('PUT', `/tokens/${encodeURIComponent(row.name)}/rights`, rights),
  }));
  refresh();
}

async function rotate(row) {
  const issued = await dialog(`A new secret for “${row.name}”`, (close) => {
    const grace = h('select', { id: 'grace' }, GRACES.map(([value, label]) => h('option', { value }, label)));
    const complaint = h('p', { class: 'bad', role: 'alert' });
    const element = h('form', { method: 'dialog' },
      h('p', {}, 'Clients need the new secret to log in again.'),
      h('div', { class: 'field' }, h('label', { for: 'grace' }, 'The former secret ends'), grace),
      complaint,
      h('div', { class: 'actions' },
        h('button', { type: 'button', class: 'plain', onclick: () => close(null) }, 'Cancel'),
        h('button', { type: 'submit' }, 'Make new secret')));
    element.addEventListener('submit', async (event) => {
      event.preventDefault();
      try {
        close(await ask('POST', `/tokens/${encodeURIComponent(row.name)}/rotate`, { grace_s: Number(grace.value) }));
      } catch (error) {
        complaint.textContent = error.message;
      }
    });
    return element;
  });
  if (issued) await showSecret(issued);
  refresh();
}

async function revoke(row) {
  const sure = await confirm({ title: `Revoke “${row.name}”?`, text: 'Its clients are disconnected at once, and their tunnels go down. This can’t be undone.', verb: 'Revoke the token' });
  if (sure === null) return;
  await attempt(() => ask('DELETE', `/tokens/${encodeURIComponent(row.name)}`), `“${row.name}” is revoked.`);
  refresh();
}

async function reserve(names) {
  await dialog('Reserve a name', (close) => {
    const name = h('input', { id: 'reserved-name', required: true, autocomplete: 'off', placeholder: 'blog, app.example.com or tcp:20000' });
    const token = h('select', { id: 'reserved-for' }, names.map((value) => h('option', { value }, value)));
    const complaint = h('p', { class: 'bad', role: 'alert' });
    const element = h('form', { method: 'dialog' },
      h('div', { class: 'field' }, h('label', { for: 'reserved-name' }, 'Subdomain, domain or port'), name),
      h('div', { class: 'field' }, h('label', { for: 'reserved-for' }, 'For the token'), token),
      complaint,
      h('div', { class: 'actions' },
        h('button', { type: 'button', class: 'plain', onclick: () => close(null) }, 'Cancel'),
        h('button', { type: 'submit' }, 'Reserve')));
    element.addEventListener('submit', async (event) => {
      event.preventDefault();
      try {
        await ask('POST', '/reservations', { name: name.value.trim(), for: token.value });
        close(true);
      } catch (error) {
        complaint.textContent = error.message;
      }
    });
    return element;
  });
  refresh();
}

async function release(row) {
  const sure = await confirm({ title: `Give “${row.name}” up?`, text: 'Whoever asks first can have it then.', verb: 'Give it up' });
  if (sure === null) return;
  await attempt(() => ask('DELETE', `/reservations/${encodeURIComponent(row.name)}`), `“${row.name}” is free.`);
  refresh();
}

const act = (label, about, work, danger) =>
  h('button', { type: 'button', class: danger ? 'plain danger-text' : 'plain', 'aria-label': `${label} ${about}`, onclick: work }, label);

export const tokens = {
  title: 'Tokens',
  mount(place) {
    let names = [];
    const table = new Table({
      caption: 'Tokens',
      key: (row) => row.id,
      columns: [
        { title: 'Name', class: 'strong', value: (row) => row.name },
        { title: 'May do', class: 'break', value: (row) => inWords(row.rights) },
        { title: 'Online', number: true, value: (row) => count(row.sessions) },
        { title: 'Made', class: 'time', value: (row) => (row.created ? calendar(row.created) : '–') },
        { title: 'Id', class: 'mono', value: (row) => row.id },
        { title: 'Change', quiet: true, class: 'act', fresh: (row) => row, value: (row) => [
          act('Edit', row.name, () => edit(row)), act('New secret', `for ${row.name}`, () => rotate(row)), act('Revoke', row.name, () => revoke(row), true),
        ] },
      ],
      empty: empty('There are no tokens. Make one here, or on the server:', 'tunnel token create NAME'),
    });
    const reservations = new Table({
      caption: 'Reserved names and ports',
      key: (row) => row.name,
      columns: [
        { title: 'Name', class: 'strong', value: (row) => row.name },
        { title: 'For', value: (row) => row.for },
        { title: 'Since', class: 'time', value: (row) => (row.since ? calendar(row.since) : '–') },
        { title: 'Change', quiet: true, class: 'act', fresh: (row) => row.name, value: (row) => act('Give up', row.name, () => release(row), true) },
      ],
      empty: empty('No name is kept for anybody. Keep one here, or on the server:', 'tunnel reserve NAME --for TOKEN'),
    });
    place.append(
      h('div', { class: 'heading' }, h('h1', {}, 'Tokens'), h('button', { type: 'button', onclick: create }, 'New token')),
      table.element,
      h('div', { class: 'heading' }, h('h2', {}, 'Reserved names'), h('button', { type: 'button', class: 'plain', onclick: () => reserve(names) }, 'Reserve a name')),
      reservations.element);
    return {
      every: 5000,
      async refresh() {
        const [{ tokens: rows }, { reservations: kept }] = await Promise.all([get('/tokens'), get('/reservations')]);
        names = rows.map((row) => row.name);
        table.update(rows);
        reservations.update(kept);
      },
    };
  },
};
