async (text) => {
  const said = (words, kind) => `<p class="message ${kind}" role="${kind}">${words}</p>`;
  try {
    await navigator.clipboard.writeText(text);
    return said('The conversation is copied, as JSON.', 'status');
  } catch (error) {
    return said('The browser does not allow copying here: it does so on this machine, or over https.', 'alert');
  }
}
