// The review page: one picture at a time, answered with a key. Nothing is shown as answered before it is on the disk.
const $ = (id) => document.getElementById(id);
const KEYS = [...'1234567890qwertyuiop'];
const UNCLEAR_KEY = '-';
const NOT_ASKED = 'the model was not asked';
const AHEAD = 6;
const REFRESH = 2000;    // ms between two looks at what the model has been asked meanwhile
const RECENT = 8;

let items = [];          // what is left of this step, in order
let place = 0;           // which of them is shown
let shown = null;        // the item on the screen: one of them, or an answered one that is looked at again
let given = new Map();   // row: the label that was given on this page
let history = [];        // answered items, the last one last
let unclear = 'unclear';
let phase = '';
let peeking = false;
let busy = false;
let untouched = true;    // nothing was pressed yet
let last = {};            // how far one is
const pictures = new Map();   // row: a promise of its picture

const copyOf = (name) => $(name).content.firstElementChild.cloneNode(true);
const percent = (share) => `${(100 * share).toFixed(0)} %`;

async function post(path, body, options = {}) {
  let reply;
  try {
    reply = await fetch(`review/${path}`, { method: 'POST', body: JSON.stringify(body), ...options });
  } catch {
    throw new Error('The server of this page does not answer. Your answers so far are kept; start it again to go on.');
  }
  if (!reply.ok) throw new Error(await reply.text());
  return reply;
}

function message(text, alert = false) {
  $('message').textContent = text;
  $('message').hidden = !text;
  $('message').classList.toggle('alert', alert);
}

// --- pictures

function picture(item) {
  if (!pictures.has(item.row)) {
    pictures.set(item.row, post('picture', { row: item.row }).then((reply) => reply.json())
      .catch((error) => { pictures.delete(item.row); return { problem: error.message }; }));
  }
  return pictures.get(item.row);
}

async function showPicture(item) {
  const found = await picture(item);
  if (shown !== item) return;
  if (found.picture) $('picture').src = found.picture;
  else $('picture').removeAttribute('src');
  $('picture').alt = found.picture ? 'The picture to judge' : '';
  $('picture').hidden = !found.picture;
  $('no-picture').textContent = found.problem ?? '';
  $('no-picture').hidden = !found.problem;
  document.body.dataset.shown = String(item.row);
}

// --- one question

function keyOf(item, label) {
  return label === unclear ? UNCLEAR_KEY : KEYS[item.labels.indexOf(label)] ?? '';
}

function show(item) {
  shown = item;
  $('finished').hidden = true;
  $('desk').hidden = false;
  message('');
  const chosen = given.get(item.row);
  $('labels').classList.toggle('many', item.labels.length > 6);
  $('labels').replaceChildren(...[...item.labels, unclear].map((label) => {
    const button = copyOf('label-template');
    button.querySelector('kbd').textContent = keyOf(item, label);
    button.querySelector('kbd').hidden = !keyOf(item, label);
    button.querySelector('span').textContent = label === unclear ? 'I cannot tell' : label;
    button.classList.toggle('unclear', label === unclear);
    button.classList.toggle('given', label === chosen);
    button.classList.toggle('model-choice', peeking && label === item.model);
    button.addEventListener('click', () => answer(label));
    return button;
  }));
  $('reason').textContent = item.reason;
  $('name').textContent = item.id;
  const hint = history.length ? '' : `Press the key of what you see; ${UNCLEAR_KEY} if you cannot tell.`;
  $('said').classList.toggle('quiet', chosen === undefined);
  $('said').textContent = chosen === undefined ? hint : `You said ${chosen === unclear ? 'that you cannot tell' : chosen}; another key changes it.`;
  $('peek').hidden = phase === 'sample';
  $('peek').querySelector('span').textContent = peeking ? 'Hide the model’s answer' : 'Show the model’s answer';
  $('model').hidden = !peeking || phase === 'sample';
  if (!$('model').hidden) showModel(item);
  showPicture(item);
  items.slice(place, place + AHEAD).forEach(picture);
}

function showModel(item) {
  const sure = item.score === null ? '' : `, ${percent(item.score)} sure`;
  const nothing = item.reason === NOT_ASKED ? 'nothing yet: it was not asked' : 'nothing that can be read';
  $('model-says').textContent = item.model === null ? nothing : `${item.model}${sure}`;
  const most = Object.entries(item.shares).sort((a, b) => b[1] - a[1]).slice(0, 4);
  $('shares').replaceChildren(...most.map(([name, share]) => {
    const line = copyOf('share-template');
    line.querySelector('.name').textContent = name;
    line.querySelector('.track span').style.width = `${100 * share}%`;
    line.querySelector('.value').textContent = percent(share);
    return line;
  }));
}

function showRecent() {
  $('recent').replaceChildren(...history.slice(-RECENT).reverse().map((item) => {
    const line = copyOf('recent-template');
    line.querySelector('span').textContent = given.get(item.row);
    picture(item).then((found) => { if (found.picture) line.querySelector('img').src = found.picture; });
    line.querySelector('button').addEventListener('click', () => show(item));
    return line;
  }));
}

function showProgress(progress) {
  const { words, answered, total } = progress;
  last = progress;
  $('words').textContent = words;
  $('answered').textContent = answered.toLocaleString('en');
  $('total').textContent = total.toLocaleString('en');
  const share = total ? 100 * answered / total : 100;
  $('bar').style.width = `${share}%`;
  $('bar').parentElement.setAttribute('aria-valuenow', share.toFixed(0));
}

function showReasons() {
  const counts = new Map();
  for (const { reason } of items) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  $('reasons').replaceChildren(...[...counts].map(([why, count]) => {
    const line = copyOf('reason-template');
    line.querySelector('.count').textContent = count.toLocaleString('en');
    line.querySelector('.why').textContent = why;
    line.querySelector('button').addEventListener('click', () => group(why));
    return line;
  }));
}

// --- what a person does

async function answer(label) {
  if (busy || !shown) return;
  busy = true;
  const item = shown;
  try {
    const progress = await (await post('answer', { row: item.row, label })).json();
    given.set(item.row, label);
    history = [...history.filter((each) => each !== item), item];
    const at = items.indexOf(item);
    if (at >= 0) items.splice(at, 1);
    if (at >= 0 && at < place) place -= 1;
    for (const old of history.slice(0, -2 * RECENT)) pictures.delete(old.row);
    showProgress(progress);
    showReasons();
    showRecent();
    if (progress.phase !== phase) await begin();
    else next();
  } catch (error) {
    message(error.message, true);
  } finally {
    busy = false;
  }
}

async function undo() {
  const item = history.at(-1);
  if (busy || !item) return;
  busy = true;
  try {
    const progress = await (await post('answer', { row: item.row, label: null })).json();
    given.delete(item.row);
    history.pop();
    showRecent();
    if (progress.phase !== phase) {
      await begin();
      place = Math.max(0, items.findIndex((each) => each.row === item.row));
      next();
    } else {
      items.splice(place, 0, item);
      showProgress(progress);
      showReasons();
      show(item);
    }
  } catch (error) {
    message(error.message, true);
  } finally {
    busy = false;
  }
}

function next() {
  if (place >= items.length) place = 0;
  if (items.length) show(items[place]);
}

function back() {
  const at = history.indexOf(shown);
  const item = at >= 0 ? history[at - 1] : history.at(-1);
  if (item) show(item);
}

function later() {
  if (history.includes(shown)) {
    const item = history[history.indexOf(shown) + 1];
    if (item) show(item);
    else next();
  } else {
    place = (place + 1) % Math.max(1, items.length);
    next();
  }
}

function peek() {
  if (phase === 'sample' || !shown) return;
  peeking = !peeking;
  show(shown);
}

// To the first picture that is looked at for the next reason.
function group(reason) {
  const from = items[place]?.reason;
  const after = [...items.slice(place), ...items.slice(0, place)];
  const found = after.find((item) => (typeof reason === 'string' ? item.reason === reason : item.reason !== from));
  if (found) { place = items.indexOf(found); show(found); }
}

document.addEventListener('pointerdown', () => { untouched = false; });
document.addEventListener('keydown', (event) => {
  untouched = false;
  if (event.ctrlKey && event.key === 'z') { event.preventDefault(); return void undo(); }
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches('input, textarea, select')) return;
  if (!$('finished').hidden) {
    if (event.key === 'Backspace') { event.preventDefault(); return void undo(); }
    if (event.key === 'Enter' && event.target !== $('go-on')) $('go-on').click();
    return;
  }
  const actions = { ArrowLeft: back, ArrowRight: later, Backspace: undo, m: peek, g: group, [UNCLEAR_KEY]: () => answer(unclear) };
  const label = shown?.labels[KEYS.indexOf(event.key)];
  if (!event.repeat && label !== undefined) { event.preventDefault(); answer(label); }
  else if (event.key in actions && !(event.repeat && actions[event.key] !== later && actions[event.key] !== back)) {
    event.preventDefault();
    actions[event.key]();
  }
});
for (const [id, action] of Object.entries({ back, skip: later, undo, peek })) {
  $(id).addEventListener('click', (event) => { event.currentTarget.blur(); action(); });
}

// --- files

for (const button of document.querySelectorAll('[data-export]')) {
  button.addEventListener('click', async () => {
    try {
      const blob = await (await post('export', { kind: button.dataset.export })).blob();
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = button.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (error) {
      message(error.message, true);
    }
  });
}

$('take').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const headers = { 'x-file-name': encodeURIComponent(file.name) };
    const { words } = await (await post('take', {}, { body: file, headers })).json();
    await begin();
    message(words);
  } catch (error) {
    message(error.message, true);
  }
  event.target.value = '';
});

// --- beginning, steps and end

const STEPS = {
  rest: ['The random sample is done', 'Go on', 'Enter goes on, ⌫ takes the last answer back.'],
  done: ['All done', 'Close the review', 'Enter closes this review, ⌫ takes the last answer back.'],
};

function pause(words) {
  const [title, action, hint] = STEPS[phase];
  $('desk').hidden = true;
  $('finished').hidden = false;
  $('finished-title').textContent = title;
  $('finished-words').textContent = words;
  $('finished-hint').textContent = hint;
  $('words').textContent = '';
  $('go-on').textContent = action;
  $('go-on').focus();
}

$('go-on').addEventListener('click', async () => {
  if (phase === 'done') {
    try {
      await post('close', {});
      $('finished-words').textContent = 'Closed. This window can be closed too.';
      $('finished-hint').textContent = '';
      $('more').hidden = true;
      $('go-on').hidden = true;
    } catch (error) {
      message(error.message, true);
    }
  } else {
    showProgress(last);
    next();
  }
});

async function begin() {
  const before = phase;
  const state = await (await post('state', {})).json();
  ({ phase, items, unclear } = state);
  place = 0;
  $('promise').textContent = state.promise;
  showProgress(state);
  showReasons();
  showRecent();
  $('more').hidden = false;
  $('finished').hidden = true;
  $('desk').hidden = false;
  if (phase === 'done') pause(state.words);
  else if (before === 'sample' && phase === 'rest') pause(state.between);
  else next();
  document.body.dataset.ready = 'yes';
  if (state.asking) setTimeout(refresh, REFRESH);
}

// The order as the model is asked: what is on the screen stays there, unless nobody has done anything yet.
async function refresh() {
  try {
    const state = busy || !$('finished').hidden ? { asking: true } : await (await post('state', {})).json();
    if (state.items && !busy && state.phase === phase) {
      items = state.items.filter((item) => !given.has(item.row));
      const at = items.findIndex((item) => item.row === shown?.row);
      place = untouched ? 0 : Math.max(0, at);
      showProgress(state);
      showReasons();
      if (untouched) next();
      else if (at >= 0 && items[at].reason !== shown.reason) show(items[at]);
      else if (at >= 0) shown = items[at];
    }
    if (state.asking) setTimeout(refresh, REFRESH);
  } catch (error) {
    message(error.message, true);
  }
}

begin().catch((error) => message(error.message, true));
