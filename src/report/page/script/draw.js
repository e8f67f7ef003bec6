// What all pictures have in common: a canvas as sharp as the screen, colours of the page, the time axis, faults.

const ROW_NAMES = 64;
const RIGHT = 10;
/** Height of the name of a fault. */
const FAULT_NAME = 15;
/** Most lines of names of faults. */
const FAULT_LINES = 3;

let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['ink', 'faint', 'paper', 'line', 'soft', 'bad', 'shade', 'ok', 'info', 'fail', 'good']) {
    colours[name] = style.getPropertyValue('--' + name).trim();
  }
}

/** Makes a canvas `height` high, empty, and gives its context in CSS pixels, with `width` and `height`. */
function prepare(canvas, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const width = canvas.clientWidth;
  if (canvas.style.height !== height + 'px') canvas.style.height = height + 'px';
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  return { context, width, height, left: ROW_NAMES, right: width - RIGHT };
}

/** Where a moment is. */
function placeOf(area, time, part = view) {
  return area.left + ((time - part.from) / (part.to - part.from)) * (area.right - area.left);
}

function timeAt(area, x, part = view) {
  return part.from + ((x - area.left) / (area.right - area.left)) * (part.to - part.from);
}

/** Cuts `text` so that it fits `width`; empty where not even a few letters do. */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(text.slice(0, middle) + '…').width <= width) low = middle;
    else high = middle - 1;
  }
  return low < 3 ? '' : text.slice(0, low) + '…';
}

/** How many lines of names the faults need: as many as were ever in force at once, and one for names longer than their fault. */
const faultLines = (() => {
  const at = (moment) => meta.faults.filter((fault) => fault.from <= moment && (fault.to ?? Infinity) > moment).length;
  const most = meta.faults.slice(0, 500).reduce((most, fault) => Math.max(most, at(fault.from)), 0);
  return Math.min(FAULT_LINES, most + (meta.faults.length > 2 ? 1 : 0));
})();

/** Shades the faults, and the phases' beginnings as dashed lines. `names`: how high the room for names is; 0: none. */
function drawFaults(area, top, bottom, names, part = view) {
  const { context } = area;
  const ends = [];
  for (const fault of meta.faults) {
    const to = fault.to === null ? whole.to : fault.to;
    if (fault.from > part.to || to < part.from) continue;
    const left = Math.max(area.left, placeOf(area, fault.from, part));
    const right = Math.min(area.right, placeOf(area, to, part));
    const width = Math.max(2, right - left);
    context.fillStyle = colours.shade;
    context.fillRect(left, top, width, bottom - top);
    if (!names) continue;
    let line = ends.findIndex((end) => end <= left);
    if (line < 0) line = ends.length;
    const room = Math.max(width, Math.min(150, area.right - left)) - 6;
    const name = line < faultLines ? fitted(context, fault.label, room) : '';
    if (!name) continue;
    ends[line] = Math.max(right, left + context.measureText(name).width + 10);
    context.fillStyle = colours.bad;
    context.textAlign = 'left';
    context.fillText(name, left + 3, top + 8 + line * FAULT_NAME);
  }
  context.strokeStyle = colours.faint;
  context.setLineDash([3, 3]);
  for (const phase of meta.phases) {
    if (phase.from <= part.from || phase.from > part.to || phase.name === 'setup') continue;
    const x = Math.round(placeOf(area, phase.from, part)) + 0.5;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
  }
  context.setLineDash([]);
}

/** Ticks and their times below `bottom`. */
function drawTimes(area, bottom) {
  const { context } = area;
  const width = view.to - view.from;
  const most = Math.max(3, (area.right - area.left) / 100);
  const rough = width / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  context.strokeStyle = colours.line;
  context.fillStyle = colours.faint;
  context.textAlign = 'center';
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const x = Math.round(placeOf(area, time)) + 0.5;
    context.beginPath();
    context.moveTo(x, bottom);
    context.lineTo(x, bottom + 4);
    context.stroke();
    const digits = Math.max(0, -Math.floor(Math.log10(step / 1e6) + 1e-9));
    const text = (time / 1e6).toFixed(Math.min(6, digits)) + ' s';
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(x, area.width - half - 1), bottom + 12);
  }
}

/** The moment that was chosen, as a line through every picture. */
function drawMoment(area, top, bottom) {
  if (view.chosen < 0 && cursor === null) return;
  const time = cursor ?? ops.begun[view.chosen];
  if (time < view.from || time > view.to) return;
  const x = Math.round(placeOf(area, time)) + 0.5;
  area.context.strokeStyle = colours.ink;
  area.context.beginPath();
  area.context.moveTo(x, top);
  area.context.lineTo(x, bottom);
  area.context.stroke();
}

/** A moment chosen without an operation, µs; null: none. */
let cursor = null;
