// What went through over time, of the server or of one tunnel: two plots, and the switch for their range.

import { h } from './dom.js';
import { byteRate, bytes, rate } from './format.js';
import { Plot } from './plot.js';

export class History {
  // The one that is shown now, as the API calls it.
  range = '10m';
  plots = [
    new Plot({ title: 'Requests and connections', series: [{ name: 'per s', area: true }, { name: 'failed per s' }], format: rate }),
    new Plot({ title: 'Traffic', series: [{ name: 'to visitors', area: true }, { name: 'from visitors' }], format: byteRate, axis: bytes, whole: true }),
  ];
  heading;

  // `changed` is called when another range was chosen.
  constructor(changed) {
    const buttons = [['10m', '10 minutes'], ['24h', '24 hours']].map(([value, label]) => h('button', {
      type: 'button', 'aria-pressed': String(value === this.range),
      onclick: (event) => {
        this.range = value;
        for (const button of buttons) button.setAttribute('aria-pressed', String(button === event.currentTarget));
        changed();
      },
    }, label));
    const ranges = h('div', { class: 'switch', role: 'group', 'aria-label': 'Range of the plots' }, buttons);
    this.heading = h('div', { class: 'heading' }, h('h2', {}, 'Over time'), ranges);
  }

  // Shows what the API told, or the same with more at its end.
  draw(data) {
    const step = data.step_s;
    const each = (list) => list.map((value) => value / step);
    const visits = data.requests.map((value, at) => value + data.connections[at]);
    const times = { end: data.end * 1000, step: step * 1000 };
    this.plots[0].update({ ...times, values: [each(visits), each(data.failed)] });
    this.plots[1].update({ ...times, values: [each(data.bytes_out), each(data.bytes_in)] });
    return times;
  }

  leave() {
    for (const plot of this.plots) plot.observer.disconnect();
  }
}
