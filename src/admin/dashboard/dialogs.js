// The page's dialogs: the browser's own, so that focus stays inside, Escape cancels, and what is behind is out of reach.

import { ApiError, signIn } from './api.js';
import { announce, byId, say } from './dom.js';

/** Why nothing can be changed from this page, when nothing can. */
const access = { mayChange: false, why: 'it is not known yet whether this page may change anything' };

/** Takes up what the API says of this page's rights. */
export function mayChange(may) {
  access.mayChange = may;
  access.why = 'Changes from this page need [admin] token in the configuration. Without it, whoever uses the admin socket may: '
    + 'streamgate streams close, streamgate reload.';
  say(byId('why-not-words'), access.why);
  byId('read-only').hidden = may;
  mark(document);
}

/** Marks the buttons that would change something and may not. They can still be reached, and then say why. */
export function mark(place) {
  for (const button of place.querySelectorAll('button.change')) {
    button.setAttribute('aria-disabled', String(!access.mayChange || button.dataset.off === 'true'));
    if (access.mayChange) button.removeAttribute('aria-describedby');
    else button.setAttribute('aria-describedby', 'why-not-words');
  }
}

/** Whether a change may go on; if not, it is told why. */
export function allowed() {
  if (!access.mayChange) open('why-not');
  return access.mayChange;
}

/** Opens a dialog. */
export function open(id) {
  const dialog = byId(id);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

/** Gives a dialog's button of consent its work: it is off while that is done, and the dialog closes when it went well. */
export function consent(id, work) {
  const dialog = byId(id);
  const button = dialog.querySelector('button[value=yes]');
  const fault = dialog.querySelector('.fault');
  dialog.addEventListener('close', () => { fault.hidden = true; });
  const run = async () => {
    if (button.disabled) return;
    button.disabled = true;
    try {
      await work();
      dialog.close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.textContent = error.message;
      fault.hidden = false;
    } finally {
      button.disabled = false;
    }
  };
  const form = dialog.querySelector('form');
  if (form) {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      run();
    });
  } else {
    button.addEventListener('click', run);
  }
}

/** Every dialog's way out. */
export function prepare() {
  for (const button of document.querySelectorAll('dialog button[value=no]')) {
    button.addEventListener('click', () => button.closest('dialog').close());
  }
}

/** The token in the address, which is taken out of it at once: it is in no history and on no screen after that. */
export function tokenOfAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get('token');
  if (found !== null) history.replaceState(null, '', location.pathname + location.search);
  return found;
}

/** Asks for the token, and calls `entered` when it was right. The page itself keeps nothing of it. */
export function askForToken(entered) {
  const field = byId('token');
  consent('sign-in', async () => {
    try {
      await signInWith(field.value.trim());
    } catch (error) {
      field.select();
      throw error;
    }
    field.value = '';
    entered();
  });
  byId('sign-in').addEventListener('close', () => { field.value = ''; });
}

/** Signs in, and says in plain words when the token is wrong. */
export async function signInWith(token) {
  // Other characters cannot be in a header field at all.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new ApiError(401, 'that is not a token');
  try {
    await signIn(token);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) throw new ApiError(401, 'that token was not accepted');
    throw error;
  }
  announce('Signed in');
}
