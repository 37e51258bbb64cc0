// Numbers and moments as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const count = (n) => whole.format(n);

// Few digits, so that a rate doesn't flicker.
export function rate(n) {
  if (n === 0) return '0';
  if (n < 0.1) return '< 0.1';
  return n < 10 ? short.format(n) : whole.format(n);
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

export function bytes(n) {
  let unit = 0;
  while (n >= 999.5 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit > 0 && n < 10 ? short.format(n) : whole.format(n)} ${UNITS[unit]}`;
}

export const byteRate = (n) => `${bytes(n)}/s`;

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return '< 1 ms';
  if (ms < 9.95) return `${short.format(ms)} ms`;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  return ms < 60_000 ? `${short.format(ms / 1000)} s` : span(ms / 1000);
}

// A span in its two largest units.
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

export const since = (text) => span((Date.now() - Date.parse(text)) / 1000);

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

export const clock = (at) => time.format(new Date(at));
export const clockMinute = (at) => minute.format(new Date(at));
export const moment = (at) => day.format(new Date(at));
export const calendar = (at) => date.format(new Date(at));
