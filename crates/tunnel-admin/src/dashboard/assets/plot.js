// Plots: lines over time, drawn as SVG. A pointer or the arrow keys read values off; the same numbers are there as a
// table.

import { h, setText, svg } from './dom.js';
import { clock, clockMinute, moment } from './format.js';

const HEIGHT = 168;
const LEFT = 64;
const BOTTOM = 24;
const TOP = 8;
const RIGHT = 4;
const TABLE_ROWS = 24;

// `series`: [{ name, area? }]; `format` for values, `axis` for the scale's if they are written otherwise; `whole` if the
// scale's are whole numbers.
export class Plot {
  #series;
  #format;
  #axis;
  #whole;
  #data = null;
  #cursor = null;
  #readouts;
  #when = h('span', { class: 'when' });
  #svg = svg('svg', { class: 'plot', height: HEIGHT, tabindex: '0', role: 'img' });
  #body = h('tbody');
  #details;
  #title;

  constructor({ title, series, format, axis, whole = false }) {
    this.#series = series;
    this.#format = format;
    this.#axis = axis ?? format;
    this.#whole = whole;
    this.#title = title;
    this.#readouts = series.map(() => h('span', { class: 'value' }));
    const legend = h('div', { class: 'legend' },
      series.map((one, at) => h('span', { class: `key s${at}` }, one.name, ' ', this.#readouts[at])),
      this.#when);
    this.#details = h('details', { class: 'numbers' },
      h('summary', {}, 'Show as a table'),
      h('div', { class: 'table' }, h('table', {},
        h('caption', { class: 'unseen' }, title),
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Time'),
          series.map((one) => h('th', { scope: 'col', class: 'number' }, one.name)))),
        this.#body)));
    this.#details.addEventListener('toggle', () => this.#fillTable());
    this.element = h('figure', { class: 'figure' },
      h('figcaption', {}, h('h3', {}, title), legend), this.#svg, this.#details);
    this.#svg.addEventListener('pointermove', (event) => this.#point(event));
    this.#svg.addEventListener('pointerleave', () => this.#set(null));
    this.#svg.addEventListener('blur', () => this.#set(null));
    this.#svg.addEventListener('keydown', (event) => this.#key(event));
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.#svg);
  }

  // `end`: the last value's moment in milliseconds; `step`: between values; `values`: a list for each series.
  update({ end, step, values }) {
    this.#data = { end, step, values, length: values[0].length };
    this.#draw();
    if (this.#details.open) this.#fillTable();
  }

  #width() {
    return Math.max(240, this.#svg.clientWidth || this.#svg.parentElement?.clientWidth || 600);
  }

  #at(index) {
    const { end, step, length } = this.#data;
    return end - (length - 1 - index) * step;
  }

  #x(index) {
    const { length } = this.#data;
    return LEFT + (this.#width() - LEFT - RIGHT) * (length > 1 ? index / (length - 1) : 1);
  }

  #draw() {
    if (!this.#data) return;
    const { values, length, step } = this.#data;
    const width = this.#width();
    const peak = Math.max(0, ...values.flat());
    const top = niceCeiling(peak, this.#whole);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(top * share)) + 0.5;
      parts.push(svg('line', { class: share ? 'grid' : 'base', x1: LEFT, x2: width - RIGHT, y1: at, y2: at }));
      parts.push(svg('text', { class: 'tick', x: LEFT - 10, y: at + 4, 'text-anchor': 'end' }, this.#axis(top * share)));
    }
    const ticks = width < 480 ? 3 : 6;
    for (let tick = 0; tick < ticks; tick += 1) {
      const index = Math.round(((length - 1) * tick) / (ticks - 1));
      const anchor = tick === 0 ? 'start' : tick === ticks - 1 ? 'end' : 'middle';
      parts.push(svg('text', { class: 'tick', x: this.#x(index), y: HEIGHT - 6, 'text-anchor': anchor }, clockMinute(this.#at(index))));
    }
    this.#series.forEach((series, at) => {
      const points = values[at].map((value, index) => `${this.#x(index).toFixed(1)},${y(value).toFixed(1)}`);
      if (points.length === 0) return;
      if (series.area) {
        const first = this.#x(0).toFixed(1);
        const last = this.#x(length - 1).toFixed(1);
        parts.push(svg('path', { class: `area s${at}`, d: `M${first},${y(0)} L${points.join(' L')} L${last},${y(0)} Z` }));
      }
      parts.push(svg('path', { class: `line s${at}`, d: `M${points.join(' L')}` }));
    });
    if (this.#cursor !== null && this.#cursor < length) {
      const x = this.#x(this.#cursor);
      parts.push(svg('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
      this.#series.forEach((_, at) => parts.push(svg('circle', { class: `dot s${at}`, cx: x, cy: y(values[at][this.#cursor]), r: 3.5 })));
    }
    this.#svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(...parts);
    this.#read(step, length, peak);
  }

  #read(step, length, peak) {
    const index = this.#cursor ?? length - 1;
    const { values } = this.#data;
    const texts = this.#series.map((_, at) => this.#format(values[at][index] ?? 0));
    texts.forEach((text, at) => setText(this.#readouts[at], text));
    const at = this.#at(index);
    setText(this.#when, this.#cursor === null ? 'now' : step < 60_000 ? clock(at) : moment(at));
    const spoken = this.#series.map((one, at) => `${one.name} ${texts[at]}`).join(', ');
    this.#svg.setAttribute('aria-label', `${this.#title}: ${this.#cursor === null ? 'now' : clock(at)} ${spoken}; most ${this.#format(peak)}. Arrow keys read earlier values.`);
  }

  #set(index) {
    if (this.#cursor === index) return;
    this.#cursor = index;
    this.#draw();
  }

  #point(event) {
    if (!this.#data) return;
    const box = this.#svg.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const last = this.#data.length - 1;
    this.#set(Math.min(last, Math.max(0, Math.round(share * last))));
  }

  #key(event) {
    if (!this.#data) return;
    const last = this.#data.length - 1;
    const from = this.#cursor ?? last;
    const jump = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: from - jump, ArrowRight: from + jump, Home: 0, End: last }[event.key];
    if (event.key === 'Escape') return this.#set(null);
    if (to === undefined) return;
    event.preventDefault();
    this.#set(Math.min(last, Math.max(0, to)));
  }

  // The means of equal stretches: a table of six hundred rows is read by nobody.
  #fillTable() {
    if (!this.#data || !this.#details.open) return;
    const { values, length, step } = this.#data;
    const each = Math.max(1, Math.ceil(length / TABLE_ROWS));
    const rows = [];
    for (let end = length; end > 0; end -= each) {
      const begin = Math.max(0, end - each);
      const mean = (list) => list.slice(begin, end).reduce((sum, value) => sum + value, 0) / (end - begin);
      const at = this.#at(end - 1);
      rows.push(h('tr', {}, h('th', { scope: 'row' }, step < 60_000 ? clock(at) : moment(at)),
        values.map((list) => h('td', { class: 'number' }, this.#format(mean(list))))));
    }
    this.#body.replaceChildren(...rows);
  }
}

// The next of 1, 2, 5 times a power of ten; or of 2, 4, 6, 10 times one, whose halves are whole.
function niceCeiling(value, whole) {
  const steps = whole ? [2, 4, 6, 10] : [1, 2, 5, 10];
  if (value <= steps[0]) return steps[0];
  const power = 10 ** Math.floor(Math.log10(value));
  return steps.map((step) => step * power).find((ceiling) => ceiling >= value);
}

// A word-sized line, for a table's cell.
export function spark(values) {
  const width = 72;
  const height = 20;
  const top = Math.max(1, ...values);
  const points = values.map((value, index) => `${((index / Math.max(1, values.length - 1)) * width).toFixed(1)},${(height - 1 - (value / top) * (height - 3)).toFixed(1)}`);
  const line = points.length > 1 ? svg('path', { class: 'line s0', d: `M${points.join(' L')}` }) : null;
  return svg('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, width, height, 'aria-hidden': 'true' }, line);
}
