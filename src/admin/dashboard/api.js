// What the page asks of the admin API, and how it asks: one function, one kind of error.

/** Why an answer is none: `status` is 0 where nobody answered. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const PATIENCE = 10_000;
/** A reload may wait for its turn. */
const LONG_PATIENCE = 30_000;

let unauthorized = () => {};

/** Says what is to happen when the API wants a token. */
export function onUnauthorized(listener) {
  unauthorized = listener;
}

/**
 * Asks for a path, and returns the JSON of its answer.
 *
 * `also`: a status that is an answer too, such as that of a reload which is refused.
 */
export async function ask(path, { method = 'GET', body, token, also = [] } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  const patience = method === 'GET' ? PATIENCE : LONG_PATIENCE;
  let response;
  let text;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store', credentials: 'same-origin', redirect: 'error', signal: AbortSignal.timeout(patience),
    });
    text = await response.text();
  } catch {
    throw new ApiError(0, 'streamgate does not answer');
  }
  if (response.ok || also.includes(response.status)) return parsed(text);
  if (response.status === 401 && token === undefined) unauthorized();
  throw new ApiError(response.status, detail(response, text));
}

function parsed(text) {
  try {
    return text.trim() === '' ? {} : JSON.parse(text);
  } catch {
    throw new ApiError(0, 'the answer is not what it should be');
  }
}

/** What a refusal says of itself: a problem's detail, or its few words. */
function detail(response, text) {
  const type = response.headers.get('content-type') ?? '';
  if (type.includes('json')) {
    try {
      const problem = JSON.parse(text);
      return problem.detail || problem.title || `status ${response.status}`;
    } catch {
      return `status ${response.status}`;
    }
  }
  return text.trim().slice(0, 300) || `status ${response.status}`;
}

/** Trades the token for a cookie that no script can read. */
export const signIn = (token) => ask('/api/session', { method: 'POST', token });

/** Removes the cookie. */
export const signOut = () => ask('/api/session', { method: 'DELETE' });

/**
 * Asks again and again while the page may: `task` every so many seconds, and at once when the returned function is called.
 * What a task cannot get is told in its section.
 */
export function poll(seconds, section, may, task) {
  let timer;
  const fault = section.querySelector('.fault');
  const round = async () => {
    clearTimeout(timer);
    try {
      if (may()) {
        await task();
        fault.hidden = true;
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // Nobody there, or no token: the page says so in one place.
      const isOfThisSection = error.status !== 0 && error.status !== 401;
      fault.hidden = !isOfThisSection;
      if (isOfThisSection) fault.textContent = error.message;
    } finally {
      clearTimeout(timer);
      timer = setTimeout(round, seconds * 1_000);
    }
  };
  timer = setTimeout(round, seconds * 1_000);
  return round;
}
