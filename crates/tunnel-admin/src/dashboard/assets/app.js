// The dashboard: who is in, which section is shown, and the stream of what happens.

import { follow, forget, get, isSignedIn, signIn, signOut } from './api.js';
import { h, notice, setText } from './dom.js';
import { activity } from './activity.js';
import { clients } from './clients.js';
import { overview } from './overview.js';
import { requests } from './requests.js';
import { tokens } from './tokens.js';
import { tunnel, tunnels } from './tunnels.js';

// A section: `mount(place, rest)` shows it and gives { refresh, event, every }, all of them optional.
const SECTIONS = { '': overview, tunnels, tunnel, clients, requests, tokens, activity };
const EVERY = 2000;

const main = document.getElementById('main');
let shown = null;
let following = null;
let timer = null;

function route() {
  const [, name = '', ...rest] = (location.hash.startsWith('#/') ? location.hash : '#/').slice(1).split('/');
  return { name: name in SECTIONS ? name : '', rest: decodeURIComponent(rest.join('/')) };
}

async function show() {
  clearTimeout(timer);
  shown?.leave?.();
  const { name, rest } = route();
  const section = SECTIONS[name];
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.hash === `#/${name === 'tunnel' ? 'tunnels' : name}`;
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const place = h('div', { class: 'section' });
  main.replaceChildren(place);
  shown = section.mount(place, rest);
  document.title = `${section.title} – tunnel`;
  await refresh();
}

async function refresh() {
  clearTimeout(timer);
  const section = shown;
  if (!isSignedIn() || !section) return;
  if (!document.hidden) {
    try {
      await section.refresh?.();
      document.body.classList.remove('stale');
    } catch (error) {
      if (error.status === 0) document.body.classList.add('stale');
      else if (error.code !== 'not-signed-in') notice(error.message, true);
    }
  }
  if (shown === section) timer = setTimeout(refresh, section.every ?? EVERY);
}

function take(event, data) {
  if (event === 'open') document.body.classList.remove('stale');
  if (event === 'lost') document.body.classList.add('stale');
  if (event === 'status') {
    setText(document.getElementById('domain'), data.domain);
    const state = document.getElementById('state');
    setText(state, data.state === 'draining' ? 'draining' : '');
  }
  shown?.event?.(event, data);
}

async function enter() {
  document.body.classList.remove('out');
  following?.abort();
  following = new AbortController();
  const { signal } = following;
  await show();
  if (!signal.aborted && isSignedIn()) follow(take, signal);
}

function leave() {
  following?.abort();
  clearTimeout(timer);
  shown?.leave?.();
  shown = null;
  document.getElementById('dialog').close();
  showSignIn();
}

async function showSignIn(problem) {
  document.body.classList.add('out');
  document.title = 'Sign in – tunnel';
  let methods = ['link'];
  let domain = '';
  try {
    ({ methods, domain } = await get('/sign-in'));
  } catch (error) {
    problem = error.message;
  }
  const takes = ['password', 'token'].filter((method) => methods.includes(method));
  const words = takes.length === 2 ? 'Password or admin token' : takes[0] === 'token' ? 'Admin token' : 'Password';
  const input = h('input', { id: 'secret', type: 'password', autocomplete: 'current-password', required: true });
  const complaint = h('p', { class: 'bad', role: 'alert' }, problem ?? '');
  const form = h('form', { class: 'sign-in' },
    h('h1', {}, domain ? ['Sign in to ', h('span', { class: 'keep' }, domain)] : 'Sign in'),
    complaint,
    takes.length ? [
      h('div', { class: 'field' }, h('label', { for: 'secret' }, words), input),
      h('div', { class: 'actions start' }, h('button', { type: 'submit' }, 'Sign in')),
    ] : null,
    h('p', { class: 'hint' }, takes.length ? 'Or run this on the server, and open the link it prints:' : 'Run this on the server, and open the link it prints:'),
    h('p', {}, h('code', {}, 'tunnel dashboard')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    for (const method of takes) {
      // A token is long; a password that is as long is tried as one too.
      if (method === 'password' && takes.includes('token') && input.value.length >= 64) continue;
      try {
        await signIn({ [method]: input.value });
        return enter();
      } catch (error) {
        setText(complaint, error.message);
        if (error.code !== 'wrong-secret') break;
      }
    }
    input.select();
  });
  main.replaceChildren(form);
  if (takes.length) input.focus();
}

// A link's secret is after the `#`: it is used up here, by a request of ours, and leaves the address at once.
async function start() {
  const match = location.hash.match(/^#sign-in=([\w-]+)$/);
  if (match) {
    history.replaceState(null, '', '/');
    try {
      await signIn({ link: match[1] });
    } catch (error) {
      forget();
      return showSignIn(error.message);
    }
  }
  return isSignedIn() ? enter() : showSignIn();
}

function themes() {
  const button = document.getElementById('theme');
  const order = ['auto', 'light', 'dark'];
  const now = () => localStorage.getItem('tunnel-theme') ?? 'auto';
  const label = () => {
    const name = { auto: 'Auto', light: 'Light', dark: 'Dark' }[now()];
    setText(button, name);
    button.setAttribute('aria-label', `Colours: ${name}. Change`);
  };
  button.addEventListener('click', () => {
    const next = order[(order.indexOf(now()) + 1) % order.length];
    if (next === 'auto') {
      localStorage.removeItem('tunnel-theme');
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem('tunnel-theme', next);
      document.documentElement.dataset.theme = next;
    }
    label();
  });
  label();
}

addEventListener('signed-out', leave);
addEventListener('hashchange', () => {
  if (!isSignedIn()) return start();
  if (location.hash.startsWith('#/') || location.hash === '') show().then(() => main.focus({ preventScroll: true }));
});
addEventListener('refresh', refresh);
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
document.getElementById('sign-out').addEventListener('click', () => signOut().catch(() => {}));
themes();
start();
