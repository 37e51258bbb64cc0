// The first look: is all well, who is here, how much goes through.

import { get } from './api.js';
import { Table, attempt, empty, h, setText } from './dom.js';
import { byteRate, bytes, count, rate, since, span } from './format.js';
import { History } from './history.js';
import { Plot } from './plot.js';
import { RequestList } from './requests.js';

const LATEST = 8;

export const overview = {
  title: 'Overview',
  mount(place) {
    const figures = new Figures(['Clients', 'Tunnels', 'Visitors now', 'Requests / s', 'To visitors', 'From visitors']);
    const history = new History(() => attempt(load));
    const visitors = new Plot({ title: 'Visitors', series: [{ name: 'open', area: true }], format: rate, axis: count, whole: true });
    const errors = new Table({
      caption: 'What was refused or failed, by code',
      key: (row) => row.code,
      columns: [
        { title: 'Code', fresh: (row) => row.code, value: (row) => h('code', {}, row.code) },
        { title: 'Last 10 min', number: true, value: (row) => count(row.last_10m) },
        { title: 'Last 24 h', number: true, value: (row) => count(row.last_24h) },
        { title: 'Since start', number: true, value: (row) => count(row.total) },
      ],
      empty: empty('Nothing was refused and nothing failed since the start.'),
    });
    const latest = new RequestList({ most: LATEST });
    let data = null;
    const up = h('p', { class: 'up' });
    const fault = h('p', { class: 'bad', role: 'status', hidden: true });
    place.append(
      h('h1', { class: 'unseen' }, 'Overview'),
      figures.element, up, fault,
      history.heading,
      history.plots[0].element, h('div', { class: 'pair' }, history.plots[1].element, visitors.element),
      h('div', { class: 'heading' }, h('h2', {}, 'Latest requests'), h('a', { href: '#/requests' }, 'All as they happen')),
      latest.element,
      h('div', { class: 'heading' }, h('h2', {}, 'Refused and failed')),
      errors.element,
    );
    const draw = () => {
      if (!data) return;
      visitors.update({ ...history.draw(data), values: [data.visitors] });
    };
    const load = async () => {
      data = await get(`/history?range=${history.range}`);
      draw();
    };
    latest.load();
    return {
      every: 5000,
      async refresh() {
        const [status, codes] = await Promise.all([get('/status'), get('/errors')]);
        figures.set(0, count(status.sessions));
        figures.set(1, count(status.tunnels));
        setText(up, `${status.domain} has been up for ${span((Date.now() - Date.parse(status.started)) / 1000)}, version ${status.version}: ${count(status.requests)} requests, ${bytes(status.bytes_out)} to visitors and ${bytes(status.bytes_in)} from them.`);
        const bad = status.settings_fault;
        fault.hidden = !bad;
        setText(fault, bad ? `Settings, for ${since(bad.since)}: ${bad.reason}; those from before go on.` : '');
        errors.update(codes.codes);
        if (!data || history.range !== '10m') await load();
      },
      event(event, sample) {
        if (event === 'requests') latest.add(sample);
        if (event === 'open') load().catch(() => {});
        if (event !== 'sample') return;
        figures.set(0, count(sample.sessions));
        figures.set(1, count(sample.tunnels));
        figures.set(2, count(sample.visitors));
        figures.set(3, rate(sample.requests));
        figures.set(4, byteRate(sample.bytes_out));
        figures.set(5, byteRate(sample.bytes_in));
        if (!data || history.range !== '10m') return;
        for (const name of ['requests', 'connections', 'failed', 'bytes_out', 'bytes_in', 'visitors']) {
          data[name].push(sample[name]);
          data[name].shift();
        }
        data.end = sample.at;
        draw();
      },
      leave: () => {
        history.leave();
        visitors.observer.disconnect();
      },
    };
  },
};

// Numbers in a row, each with what it counts.
class Figures {
  constructor(names) {
    this.values = names.map(() => h('dd', {}, '–'));
    this.element = h('dl', { class: 'figures' },
      names.map((name, at) => h('div', {}, h('dt', {}, name), this.values[at])));
  }

  set(at, text) {
    setText(this.values[at], text);
  }
}
