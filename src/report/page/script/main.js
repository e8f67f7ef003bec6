// Brings the parts together: keys, pointer, filters, what is said in words.

const form = document.getElementById('filters');
const status = document.getElementById('status');
const told = document.getElementById('told');
const tip = document.getElementById('tip');
let waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawAll();
  });
}

function drawAll() {
  drawOverview();
  drawTimeline();
  drawLatency();
  drawRate();
  const width = view.to - view.from;
  const of = shown.length === ops.n ? count(ops.n) : `${count(shown.length)} of ${count(ops.n)}`;
  const inside = firstFrom(view.to) - firstFrom(view.from);
  const most = rows.names.length > drawn.area.rows
    ? ` Rows ${view.top + 1}–${view.top + drawn.area.rows} of ${count(rows.names.length)} (↑ ↓).` : '';
  status.textContent = `${of} operations, ${count(inside)} of them from ${moment(view.from, width)} to ${moment(view.to, width)}.${most}`;
}

/** Says all there is to say of the chosen operation. */
function tell() {
  told.replaceChildren();
  if (view.chosen < 0) return;
  for (const [name, text] of details(view.chosen)) {
    const term = document.createElement('dt');
    const description = document.createElement('dd');
    term.textContent = name;
    description.textContent = text;
    told.append(term, description);
  }
}

function choose(op) {
  view.chosen = op;
  cursor = null;
  tell();
  if (op >= 0) scrollLogs(ops.begun[op]);
  redraw();
}

/** Shows a moment that belongs to no operation. */
function goTo(time) {
  cursor = time;
  if (time < view.from || time > view.to) {
    const half = (view.to - view.from) / 2;
    show(time - half, time + half);
  }
  redraw();
}

// Filters.

/** The place of `text` in `names`; null where there is none, so that half a word does not hide everything. */
function placeIn(names, text) {
  const at = names.indexOf(text);
  return at < 0 ? null : at;
}

function readFilters() {
  const chosen = (name) => (form.elements[name].value === '' ? null : Number(form.elements[name].value));
  filter.node = chosen('node');
  filter.f = chosen('f');
  filter.outcome = chosen('outcome');
  filter.proof = form.elements.proof.checked;
  const key = form.elements.key.value.trim();
  filter.key = key === '' ? null : placeIn(meta.keys, key);
  const process = form.elements.process.value.trim().replace(/^p/, '');
  filter.process = /^\d+$/.test(process) ? Number(process) : null;
  form.elements.key.setAttribute('aria-invalid', String(key !== '' && filter.key === null));
  form.elements.process.setAttribute('aria-invalid', String(process !== '' && filter.process === null));
  view.rows = form.elements.rows.value;
  select();
  redraw();
}

function options(name, names, prefix = '') {
  const list = form.elements[name];
  names.forEach((text, at) => {
    const option = document.createElement('option');
    option.value = at;
    option.textContent = prefix + text;
    list.append(option);
  });
}

// Keys and buttons: the same words for both.

const actions = {
  in: () => zoom(0.5, middle()),
  out: () => zoom(2, middle()),
  left: () => pan(-0.25),
  right: () => pan(0.25),
  whole: () => show(whole.from, whole.to),
  up: () => (view.top = Math.max(0, view.top - 1)),
  down: () => (view.top += 1),
  next: () => follow(1),
  before: () => follow(-1),
  clear: () => {
    form.reset();
    cursor = null;
    view.chosen = -1;
    tell();
    readFilters();
  },
};
const KEYS = {
  ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down', '+': 'in', '=': 'in', '-': 'out', _: 'out',
  Home: 'whole', n: 'next', p: 'before', Escape: 'clear',
};

/** Zooming keeps the chosen operation where it is, else the middle. */
function middle() {
  const time = cursor ?? (view.chosen < 0 ? NaN : ops.begun[view.chosen]);
  return time >= view.from && time <= view.to ? time : (view.from + view.to) / 2;
}

function follow(step) {
  chooseBeside(step);
  choose(view.chosen);
}

function act(name) {
  actions[name]();
  redraw();
}

/** Looks closely at the operations of a proof, with some of what was around them. */
function showProof(violation) {
  const places = [];
  for (let at = 0; at < ops.n; at++) if (ops.proof[at] && violation.ops.includes(ops.index[at])) places.push(at);
  if (!places.length) return;
  // A filter that hides one of them would show half a proof.
  if (places.some((place) => shown[lowerPlace(place)] !== place)) actions.clear();
  const from = ops.begun[places[0]];
  const to = places.reduce((latest, at) => Math.max(latest, ops.end[at] === Infinity ? ops.begun[at] : ops.end[at]), from);
  const margin = Math.max(500, (to - from) * 0.1);
  show(from - margin, to + margin);
  choose(places[places.length - 1]);
  timeline.scrollIntoView({ block: 'center' });
  timeline.focus({ preventScroll: true });
}

function addButtons() {
  const button = (text, click) => {
    const element = document.createElement('button');
    element.type = 'button';
    element.textContent = text;
    element.addEventListener('click', click);
    return element;
  };
  document.querySelectorAll('details.violation').forEach((element) => {
    const violation = meta.violations[Number(element.dataset.violation)];
    if (!violation) return;
    element.querySelector(':scope > .story').after(button('Show on the timeline', () => showProof(violation)));
  });
  document.querySelectorAll('[data-fault]').forEach((element) => {
    const fault = meta.faults[Number(element.dataset.fault)];
    element.after(' ', button('show', () => {
      const to = fault.to ?? whole.to;
      const margin = Math.max(1000, (to - fault.from) * 0.15);
      show(fault.from - margin, to + margin);
      cursor = fault.from;
      scrollLogs(fault.from);
      timeline.scrollIntoView({ block: 'center' });
      redraw();
    }));
  });
}

// The pointer.

const pointers = new Map();

function listen() {
  timeline.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    act(KEYS[event.key]);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    form.elements.key.focus();
  });
  document.querySelectorAll('[data-act]').forEach((element) => {
    element.addEventListener('click', () => act(element.dataset.act));
  });
  form.addEventListener('input', readFilters);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    timeline.focus();
  });
  timeline.addEventListener('wheel', (event) => {
    // Without focus the wheel goes on scrolling the page.
    if (!event.ctrlKey && document.activeElement !== timeline) return;
    event.preventDefault();
    zoom(1.0015 ** event.deltaY, timeAt(drawn.area, event.offsetX));
    redraw();
  }, { passive: false });
  timeline.addEventListener('pointerdown', (event) => {
    timeline.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, moved: 0 });
  });
  timeline.addEventListener('pointermove', moved);
  timeline.addEventListener('pointerup', released);
  timeline.addEventListener('pointercancel', (event) => pointers.delete(event.pointerId));
  timeline.addEventListener('pointerleave', () => (tip.hidden = true));
  timeline.addEventListener('dblclick', (event) => {
    zoom(0.25, timeAt(drawn.area, event.offsetX));
    redraw();
  });
  brush();
}

function moved(event) {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) {
    hover(event);
    return;
  }
  const step = event.offsetX - pointer.x;
  const others = [...pointers].filter(([id]) => id !== event.pointerId);
  const width = drawn.area.right - drawn.area.left;
  if (others.length) {
    const other = others[0][1].x;
    const before = Math.max(20, Math.abs(pointer.x - other));
    const now = Math.max(20, Math.abs(event.offsetX - other));
    zoom(before / now, timeAt(drawn.area, other));
  } else if (pointer.moved > 3 || Math.abs(step) > 3) {
    pan(-step / width);
  } else return;
  pointer.moved += Math.abs(step);
  pointer.x = event.offsetX;
  tip.hidden = true;
  redraw();
}

function released(event) {
  const pointer = pointers.get(event.pointerId);
  pointers.delete(event.pointerId);
  if (!pointer || pointer.moved > 3) return;
  const found = under(event.offsetX, event.offsetY);
  if (found && found.op !== undefined) choose(found.op);
  else if (event.offsetX >= drawn.area.left) {
    const near = nearest(event.offsetX, event.offsetY);
    if (near >= 0) choose(near);
    else {
      cursor = timeAt(drawn.area, event.offsetX);
      scrollLogs(cursor);
      redraw();
    }
  }
}

function hover(event) {
  const found = event.pointerType === 'touch' ? null : under(event.offsetX, event.offsetY);
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.text ?? details(found.op).map(([name, text]) => name + ': ' + text).join('\n');
  const room = timeline.clientWidth - tip.offsetWidth;
  tip.style.left = Math.max(0, Math.min(room, event.offsetX + 12)) + 'px';
  tip.style.top = timeline.offsetTop + event.offsetY + 16 + 'px';
}

/** On the overview a drag chooses the part that is shown, and a click moves it. */
function brush() {
  const area = () => ({ left: ROW_NAMES, right: overview.clientWidth - RIGHT });
  let begun = null;
  overview.addEventListener('pointerdown', (event) => {
    overview.setPointerCapture(event.pointerId);
    begun = event.offsetX;
  });
  overview.addEventListener('pointermove', (event) => {
    if (begun === null || Math.abs(event.offsetX - begun) < 4) return;
    const times = [begun, event.offsetX].map((x) => timeAt(area(), x, whole)).sort((left, right) => left - right);
    show(Math.max(whole.from, times[0]), Math.min(whole.to, times[1]));
    redraw();
  });
  overview.addEventListener('pointerup', (event) => {
    if (begun !== null && Math.abs(event.offsetX - begun) < 4) {
      const time = timeAt(area(), event.offsetX, whole);
      const half = (view.to - view.from) / 2;
      show(time - half, time + half);
      redraw();
    }
    begun = null;
  });
}

function start() {
  readColours();
  options('node', meta.nodes);
  options('f', meta.functions);
  const keys = document.getElementById('keys');
  // A list to pick from; any other key can be typed.
  for (const key of meta.keys.slice(0, 200)) keys.append(new Option(key, key));
  form.elements.proof.parentElement.hidden = !meta.violations.length;
  document.querySelector('.of-proofs').hidden = !meta.violations.length;
  document.getElementById('explore').hidden = false;
  document.getElementById('still').hidden = true;
  document.querySelectorAll('.scripted').forEach((element) => (element.hidden = false));
  listen();
  onLogLine(goTo);
  addButtons();
  addSaving();
  readFilters();
  drawAll();
  const restyle = () => {
    readColours();
    drawAll();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', restyle);
  matchMedia('print').addEventListener('change', restyle);
  new ResizeObserver(redraw).observe(timeline);
}

start();
