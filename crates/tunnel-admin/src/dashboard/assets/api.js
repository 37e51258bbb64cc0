// Asking the server. The key is kept for this origin, port included, and goes with each request: the cookie alone,
// which a browser sends to every port of a host, is worth nothing.

const KEY = 'tunnel-key';

export class Problem extends Error {
  constructor({ status, code, title, detail, next }) {
    super([title, detail].filter(Boolean).join(': ') + (next ? ` — ${next}` : ''));
    this.status = status;
    this.code = code;
  }
}

const key = () => localStorage.getItem(KEY);
export const isSignedIn = () => key() !== null;
export const forget = () => localStorage.removeItem(KEY);

export async function ask(method, path, body) {
  const headers = {};
  if (key() !== null) headers['X-Tunnel-Key'] = key();
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem({ status: 0, code: 'unreachable', title: 'The server does not answer' });
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  let problem = { status: response.status, code: 'unknown', title: response.statusText };
  try {
    problem = await response.json();
  } catch {
    // Not from us; the status says enough.
  }
  if (problem.code === 'not-signed-in') {
    forget();
    dispatchEvent(new Event('signed-out'));
  }
  throw new Problem(problem);
}

export const get = (path) => ask('GET', path);

export async function signIn(credentials) {
  const entry = await ask('POST', '/sign-in', credentials);
  localStorage.setItem(KEY, entry.key);
}

export async function signOut() {
  try {
    await ask('POST', '/sign-out', {});
  } finally {
    forget();
    dispatchEvent(new Event('signed-out'));
  }
}

// What happens from now on: calls `take(event, data)` until `signal` is aborted, and comes back after a break.
// `EventSource` can't send the key, so the stream is read by hand.
export async function follow(take, signal) {
  while (!signal.aborted) {
    try {
      const response = await fetch('/api/v1/events', { headers: { 'X-Tunnel-Key': key() ?? '' }, signal });
      if (response.status === 401) {
        forget();
        dispatchEvent(new Event('signed-out'));
        return;
      }
      if (!response.ok) throw new Error(String(response.status));
      take('open', null);
      await read(response.body.getReader(), take);
    } catch {
      // Away or restarting: said once, tried again.
    }
    if (signal.aborted) return;
    take('lost', null);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

async function read(reader, take) {
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      let event = 'message';
      let data = '';
      for (const line of block.split('\n')) {
        if (line.startsWith('event: ')) event = line.slice(7);
        if (line.startsWith('data: ')) data += line.slice(6);
      }
      if (data) take(event, JSON.parse(data));
    }
  }
}
