// The page: what its controls send to the server, and how its answers are shown. All text that a user or a model wrote
// goes into the page as text (textContent, attributes), never as HTML.

const $ = (id) => document.getElementById(id);
const OWN = 'my own';
const turns = new Map(); // an answer's number: its JSON, and its article on the page
let session = '';
let labelSets = {};
let asking = null; // the AbortController of the question under way
let mostBytes = 0;

const percent = (share) => (share > 0 && share < 0.005 ? 'under 1\u00a0%' : `${Math.round(100 * share)}\u00a0%`);
const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);

function message(element, text, alert = false) {
  element.textContent = text;
  element.hidden = !text;
  element.classList.toggle('alert', alert);
  element.setAttribute('role', alert ? 'alert' : 'status');
}

// --- talking to the server

async function post(path, body, options = {}) {
  let reply;
  try {
    reply = await fetch(path, { method: 'POST', body: JSON.stringify({ session, ...body }), ...options });
  } catch (error) {
    throw error.name === 'AbortError' ? error : new Error('The server of this page does not answer.');
  }
  if (!reply.ok) throw new Error(await reply.text());
  return reply;
}

async function* events(path, body, signal) {
  const reader = (await post(path, body, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

// Runs one long request at a time for its status line; the function that is returned stops it.
function run(path, body, status, onEvent) {
  const control = new AbortController();
  (async () => {
    try {
      for await (const event of events(path, body, control.signal)) {
        if ('status' in event) message(status, event.status, event.alert);
        onEvent(event);
      }
    } catch (error) {
      if (error.name !== 'AbortError') message(status, error.message || 'The connection broke.', true);
    } finally {
      if (asking === control) finished();
    }
  })();
  return control;
}

// At most one call under way; of those that come meanwhile only the last is made.
function latest(call) {
  let running = false;
  let again = false;
  return async () => {
    if (running) return void (again = true);
    running = true;
    do {
      again = false;
      await call();
    } while (again);
    running = false;
  };
}

// --- pictures

async function send(list) {
  const refused = [];
  for (const file of list) {
    try {
      if (file.size > mostBytes) throw new Error(`${file.name}: more than the ${mostBytes / 1e6} MB allowed.`);
      const headers = { 'x-session': session, 'x-picture-name': encodeURIComponent(file.name || 'picture') };
      const reply = await post('picture', {}, { body: file, headers });
      showTray((await reply.json()).pictures);
    } catch (error) {
      refused.push(error.message);
    }
  }
  message($('status'), refused.join(' '), true);
}

function showTray(pictures) {
  $('tray').replaceChildren(...pictures.map(({ name, thumbnail }) => {
    const item = copyOf('tray-template');
    item.querySelector('img').src = thumbnail;
    item.querySelector('span').textContent = name;
    return item;
  }));
}

$('picture-files').addEventListener('change', (event) => {
  const chosen = [...event.target.files];
  event.target.value = '';
  send(chosen);
});
document.addEventListener('paste', (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])];
  if (pasted.length) { event.preventDefault(); send(pasted); }
});
document.addEventListener('dragover', (event) => { event.preventDefault(); $('picker').classList.add('over'); });
document.addEventListener('dragleave', () => $('picker').classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  $('picker').classList.remove('over');
  send([...(event.dataTransfer?.files ?? [])]);
});

let camera = null;
$('photograph').hidden = !navigator.mediaDevices?.getUserMedia;
$('photograph').addEventListener('click', async () => {
  const viewfinder = $('viewfinder');
  try {
    if (!camera) {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user' } });
      viewfinder.srcObject = camera;
    } else {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [viewfinder.videoWidth, viewfinder.videoHeight];
      canvas.getContext('2d').drawImage(viewfinder, 0, 0);
      canvas.toBlob((blob) => send([new File([blob], 'photograph.jpg', { type: 'image/jpeg' })]), 'image/jpeg', 0.92);
      camera.getTracks().forEach((track) => track.stop());
      camera = null;
    }
    viewfinder.hidden = !camera;
    $('photograph').textContent = camera ? 'Take it now' : 'Take a photograph';
  } catch (error) {
    message($('status'), `The camera cannot be used: ${error.message}`, true);
  }
});

// --- answers

function fill(article, answer) {
  const find = (selector) => article.querySelector(selector);
  const text = (selector, value) => { find(selector).textContent = value; find(selector).hidden = !value; };
  const stated = answer.label !== null && answer.confidence !== null;
  article.classList.toggle('trusted', answer.trusted);
  article.setAttribute('aria-label', `Answer about ${answer.picture}`);
  text('.question', answer.question);
  text('.label', answer.label ?? 'No readable answer');
  if (stated) {
    const value = 100 * answer.confidence;
    find('.fill').style.width = `${value}%`;
    find('.mark').style.left = `${100 * answer.threshold}%`;
    find('.bar').setAttribute('aria-valuenow', value.toFixed(0));
    find('.bar').setAttribute('aria-valuetext', percent(answer.confidence));
    find('.stated .value').textContent = percent(answer.confidence);
  } else {
    find('.stated')?.remove();
  }
  text('.sentence', answer.sentence);
  text('.record', answer.record);
  text('.set', answer.set_sentence);
  text('.doubt', answer.doubt_sentence);
}

function articleOf(answer) {
  const article = copyOf('answer-template');
  const find = (selector) => article.querySelector(selector);
  find('.picture').src = answer.thumbnail;
  find('.picture').alt = answer.picture;
  fill(article, answer);
  const others = Object.entries(answer.alternatives).filter(([, share], place) => place < 3 || share >= 0.01);
  find('.source').textContent = answer.alternatives_from.replace(/^./, (first) => first.toUpperCase());
  find('.shares').append(...others.map(([name, share]) => {
    const item = copyOf('share-template');
    item.classList.toggle('chosen', name === answer.label);
    item.querySelector('.name').textContent = name;
    item.querySelector('.track span').style.width = `${100 * share}%`;
    item.querySelector('.value').textContent = percent(share);
    return item;
  }));
  if (!others.length) find('.alternatives').remove();
  for (const [title, words] of Object.entries(answer.reasoning)) {
    for (const [tag, value] of [['dt', title], ['dd', words]]) {
      find('.reasoning dl').appendChild(document.createElement(tag)).textContent = value;
    }
  }
  if (!Object.keys(answer.reasoning).length) find('.reasoning').remove();
  find('.raw').open = answer.label === null;
  find('.raw pre').textContent = answer.text || '(nothing)';
  find('.meta').textContent = `${answer.picture} · ${answer.labels.join(', ')}`;
  return article;
}

function keepOnly(ids) {
  for (const [id, { article }] of turns) {
    if (!ids.includes(id)) { article.remove(); turns.delete(id); }
  }
  shown();
}

function shown() {
  const answers = [...turns.values()].map(({ answer: { thumbnail, turn, ...rest } }) => rest);
  $('json').value = JSON.stringify(answers, null, 1);
  if (!turns.size) {
    const empty = document.createElement('p');
    empty.className = 'empty';
    empty.textContent = 'Answers appear here.';
    $('answers').replaceChildren(empty);
  } else {
    $('answers').querySelector('.empty')?.remove();
  }
}

function onEvent(event) {
  if ('turns' in event) keepOnly(event.turns);
  if ('writing' in event) showWriting(event.writing);
  if ('answer' in event) {
    const article = articleOf(event.answer);
    turns.set(event.answer.turn, { answer: event.answer, article });
    showWriting([]);
    $('answers').prepend(article);
    shown();
  }
}

function showWriting(texts) {
  $('writing').replaceChildren(...texts.map(({ picture, text }) => {
    const article = copyOf('writing-template');
    article.querySelector('.name').textContent = `${picture}: writing`;
    article.querySelector('.text').textContent = text;
    return article;
  }));
}

const labels = () => ($('label-set').value === OWN ? $('own').value : labelSets[$('label-set').value].join(', '));
const threshold = () => Number($('threshold').value);

function ask(again) {
  asking?.abort();
  const body = { labels: labels(), question: $('question').value, threshold: threshold(), again };
  asking = run('ask', body, $('status'), onEvent);
  if (window.innerWidth < 768) $('right').scrollIntoView();
}

function finished() {
  asking = null;
  showWriting([]);
}

$('ask').addEventListener('click', () => ask(false));
$('retry').addEventListener('click', () => ask(true));
$('question').addEventListener('keydown', (event) => { if (event.key === 'Enter') ask(false); });
$('stop').addEventListener('click', () => {
  asking?.abort();
  finished();
  message($('status'), 'Stopped. What was not finished is left out.');
});
$('clear').addEventListener('click', async () => {
  asking?.abort();
  finished();
  try {
    await post('clear', {});
    keepOnly([]);
    showTray([]);
    $('question').value = '';
    message($('status'), '');
  } catch (error) {
    message($('status'), error.message, true);
  }
});
$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText($('json').value);
    message($('status'), 'The conversation is copied, as JSON.');
  } catch {
    $('json').hidden = false;
    $('json').select();
    message($('status'), 'The browser allows copying on this machine or over https only: copy the text below.', true);
  }
});

const judge = latest(async () => {
  try {
    const reply = await (await post('judge', { labels: labels(), threshold: threshold() })).json();
    $('meaning').textContent = reply.meaning;
    $('labels-shown').textContent = reply.problem || labels();
    for (const answer of reply.answers) {
      const turn = turns.get(answer.turn);
      if (turn) { turn.answer = { ...turn.answer, ...answer }; fill(turn.article, turn.answer); }
    }
    shown();
  } catch (error) {
    message($('status'), error.message, true);
  }
});
$('threshold').addEventListener('input', () => {
  $('threshold-value').textContent = percent(threshold());
  judge();
});
$('label-set').addEventListener('change', () => {
  $('own-field').hidden = $('label-set').value !== OWN;
  judge();
});
$('own').addEventListener('change', judge);

// --- the gallery

const galleryThreshold = () => Number($('gallery-threshold').value);
const view = (more = {}) => ({
  label: $('filter').value, untrusted: $('untrusted').checked, threshold: galleryThreshold(), ...more,
});

const showGallery = latest(async () => {
  try {
    const { answers, total } = await (await post('gallery/view', view())).json();
    $('gallery').replaceChildren(...answers.map((answer) => {
      const item = copyOf('gallery-template');
      const text = (selector, value) => { item.querySelector(selector).textContent = value; };
      item.classList.toggle('trusted', answer.trusted);
      if (answer.thumbnail) item.querySelector('img').src = answer.thumbnail;
      else item.querySelector('img').remove();
      if (answer.thumbnail) item.querySelector('img').alt = answer.picture;
      text('.label', answer.label ?? 'no readable answer');
      const stated = answer.confidence === null ? 'no confidence' : percent(answer.confidence);
      text('.value', `${stated}, ${answer.trusted ? 'trusted' : 'not trusted'}`);
      text('.name', answer.picture);
      text('.why', answer.label === null ? answer.sentence : '');
      return item;
    }));
    $('gallery-count').textContent = `${answers.length} of ${total} pictures shown.`;
  } catch (error) {
    message($('gallery-status'), error.message, true);
  }
});

async function download(kind) {
  try {
    const blob = await (await post('gallery/view', view({ export: kind }))).blob();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `gallery.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } catch (error) {
    message($('gallery-status'), error.message, true);
  }
}

let askingGallery = null;
$('gallery-ask').addEventListener('click', () => {
  askingGallery?.abort();
  askingGallery = run('gallery/ask_gallery', {}, $('gallery-status'), showGallery);
});
$('gallery-stop').addEventListener('click', () => {
  askingGallery?.abort();
  message($('gallery-status'), 'Stopped.');
});
$('gallery-csv').addEventListener('click', () => download('csv'));
$('gallery-jsonl').addEventListener('click', () => download('jsonl'));
$('filter').addEventListener('change', showGallery);
$('untrusted').addEventListener('change', showGallery);
$('gallery-threshold').addEventListener('input', () => {
  $('gallery-threshold-value').textContent = percent(galleryThreshold());
  showGallery();
});

// --- tabs and start

function select(tab) {
  for (const name of ['ask', 'gallery']) {
    $(`tab-${name}`).setAttribute('aria-selected', String(name === tab));
    $(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
    $(`panel-${name}`).hidden = name !== tab;
  }
}
$('tab-ask').addEventListener('click', () => select('ask'));
$('tab-gallery').addEventListener('click', () => select('gallery'));
$('tabs').addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
  const other = $('panel-ask').hidden ? 'ask' : 'gallery';
  select(other);
  $(`tab-${other}`).focus();
});

function options(element, names, chosen) {
  element.replaceChildren(...names.map((name) => new Option(name, name, name === chosen, name === chosen)));
}

async function watchModel() {
  for (;;) {
    const { loading, status, alert } = await (await fetch('model')).json();
    message($('model'), status, alert);
    if (!loading) return;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function start() {
  const setup = await (await post('open', {})).json();
  ({ session, label_sets: labelSets, most_bytes: mostBytes } = setup);
  $('model-name').textContent = setup.model;
  message($('note'), setup.note);
  const chosen = Object.keys(labelSets).find((name) => String(labelSets[name]) === String(setup.labels)) ?? OWN;
  options($('label-set'), [...Object.keys(labelSets), OWN], chosen);
  if (chosen === OWN) $('own').value = setup.labels.join(', ');
  $('own-field').hidden = chosen !== OWN;
  $('labels-shown').textContent = setup.labels.join(', ');
  $('question').maxLength = setup.longest_question;
  for (const name of ['threshold', 'gallery-threshold']) {
    $(name).value = setup.threshold;
    $(`${name}-value`).textContent = percent(setup.threshold);
  }
  $('meaning').textContent = setup.meaning;
  if (setup.gallery) {
    $('tabs').hidden = false;
    $('gallery-name').textContent = `${setup.gallery.pictures} pictures of ${setup.gallery.name}, the most doubtful first.`;
    $('gallery-review').hidden = !setup.gallery.reviewed;
    options($('filter'), ['every label', ...setup.labels, 'no readable answer'], 'every label');
  }
  document.body.dataset.ready = 'yes';
}

start().then(watchModel).catch((error) => message($('model'), error.message, true));
