// Visible text whose contrast is below WCAG 2.2 AA (1.4.3): how many texts were looked at, and those found.
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parse = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const found = [], seen = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let counted = 0;
while (seen.nextNode()) {
  const e = seen.currentNode.parentElement, style = getComputedStyle(e);
  const text = seen.currentNode.textContent.trim();
  if (!text || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  if (e.matches('script, style, noscript, option')) continue;
  const [a, b] = [light(parse(style.color)), light(behind(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  counted += 1;
  if (ratio < (large ? 3 : 4.5)) found.push([ratio.toFixed(2), text.slice(0, 40)]);
}
return [counted, found];
