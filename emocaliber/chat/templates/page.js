// The picture picker: pictures chosen, dropped, pasted or photographed go to /pictures one by one, and the page is told.
const files = element.querySelector('#picture-files');
const photograph = element.querySelector('#photograph');
const viewfinder = element.querySelector('#viewfinder');
const area = element.querySelector('.picker');

async function send(list) {
  const tokens = [], refused = [];
  for (const file of list) {
    try {
      if (file.size > 20000000) throw new Error(`${file.name}: more than the 20 MB allowed`);
      const reply = await fetch('pictures', {
        method: 'POST', body: file,
        headers: { 'content-type': 'application/octet-stream', 'x-picture-name': encodeURIComponent(file.name || 'picture') },
      });
      const said = await reply.text();
      if (reply.ok) tokens.push(JSON.parse(said).token); else refused.push(said);
    } catch (error) {
      refused.push(error instanceof TypeError ? `${file.name}: the page's server does not answer` : error.message);
    }
  }
  if (tokens.length || refused.length) trigger('upload', { tokens, refused });
}

files.addEventListener('change', () => { const chosen = [...files.files]; files.value = ''; send(chosen); });
area.addEventListener('click', (event) => event.stopPropagation());
document.addEventListener('paste', (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])];
  if (pasted.length) { event.preventDefault(); send(pasted); }
});
document.addEventListener('dragover', (event) => { event.preventDefault(); area.classList.add('over'); });
document.addEventListener('dragleave', () => area.classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  area.classList.remove('over');
  send([...(event.dataTransfer?.files ?? [])]);
});

// On a narrow screen the answers stand below the controls: whoever asks is brought to them.
document.addEventListener('click', (event) => {
  if (event.target.closest?.('#ask, #retry') && window.innerWidth < 768) {
    document.querySelector('#right')?.scrollIntoView();
  }
});

// Gradio 6 gives each radio button a name of its own, at each change anew: arrow keys could not go from one to the next.
function group() {
  for (const radio of document.querySelectorAll('#taxonomy input[type=radio]:not([name=taxonomy])')) radio.name = 'taxonomy';
}
group();
new MutationObserver(group).observe(document.body, { childList: true, subtree: true, attributeFilter: ['name'] });

let camera = null;
photograph.hidden = !navigator.mediaDevices?.getUserMedia;
photograph.addEventListener('click', async () => {
  try {
    if (!camera) {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user' } });
      viewfinder.srcObject = camera;
      viewfinder.hidden = false;
      photograph.textContent = 'Take it now';
      return;
    }
    const canvas = document.createElement('canvas');
    canvas.width = viewfinder.videoWidth;
    canvas.height = viewfinder.videoHeight;
    canvas.getContext('2d').drawImage(viewfinder, 0, 0);
    canvas.toBlob((blob) => send([new File([blob], 'photograph.jpg', { type: 'image/jpeg' })]), 'image/jpeg', 0.92);
    camera.getTracks().forEach((track) => track.stop());
    camera = null;
    viewfinder.hidden = true;
    photograph.textContent = 'Take a photograph';
  } catch (error) {
    trigger('upload', { tokens: [], refused: ['The camera cannot be used: ' + error.message] });
  }
});
