// The operations: bars where there is room for each, else how many began in each column of pixels.

/** Up to so many operations are drawn one by one: more would only hide each other. */
const mostBars = (area) => Math.max(300, 2 * (area.right - area.left));
/** Width of a column that operations are counted in, px: wide enough for some of them, or a regular load looks like noise. */
function columnWidth(area, number) {
  const wanted = (8 * (area.right - area.left)) / Math.max(1, number);
  return Math.min(12, Math.max(2, Math.ceil(wanted)));
}

const LOWEST_ROW = 20;
const timeline = document.getElementById('timeline');
const overview = document.getElementById('overview');

/** What was drawn last, for the pointer: bars as [op, left, right, top, bottom], or counts. */
let drawn = { bars: [], counts: null };

function drawTimeline() {
  const head = meta.faults.length ? 4 + FAULT_NAME * faultLines : 8;
  if (!rows.whole) arrange();
  const fits = Math.min(rows.names.length, MOST_ROWS);
  const rowHeight = Math.max(LOWEST_ROW, Math.min(84, Math.floor(320 / Math.max(1, fits))));
  const height = head + Math.max(1, fits) * rowHeight + 22;
  const area = prepare(timeline, height);
  area.head = head;
  area.rowHeight = rowHeight;
  area.rows = fits;
  area.bottom = head + Math.max(1, fits) * rowHeight;
  view.top = Math.max(0, Math.min(view.top, rows.names.length - fits));
  drawFaults(area, 0, area.bottom, head);
  drawTargets(area);
  drawRowNames(area);
  const from = firstFrom(view.from);
  const to = firstFrom(view.to);
  drawn = { bars: [], counts: null, area };
  if (to - from <= mostBars(area)) drawBars(area, from, to);
  else drawCounts(area, from, to);
  drawTimes(area, area.bottom);
  drawMoment(area, head, area.bottom);
  if (!shown.length) {
    area.context.fillStyle = colours.faint;
    area.context.textAlign = 'center';
    area.context.fillText('no operation passes the filter', (area.left + area.right) / 2, head + rowHeight / 2);
  }
}

/** Where rows are nodes, the row of a node that a fault was aimed at is shaded once more. */
function drawTargets(area) {
  if (view.rows !== 'node') return;
  area.context.fillStyle = colours.shade;
  for (const fault of meta.faults) {
    const to = fault.to === null ? whole.to : fault.to;
    if (fault.from > view.to || to < view.from) continue;
    const left = Math.max(area.left, placeOf(area, fault.from));
    const right = Math.min(area.right, placeOf(area, to));
    for (const node of fault.nodes) {
      const row = rows.names.indexOf(node) - view.top;
      if (row < 0 || row >= area.rows) continue;
      area.context.fillRect(left, area.head + row * area.rowHeight, Math.max(2, right - left), area.rowHeight - 1);
    }
  }
}

function drawRowNames(area) {
  const { context } = area;
  for (let row = 0; row < area.rows; row++) {
    const y = area.head + row * area.rowHeight;
    context.fillStyle = colours.ink;
    context.textAlign = 'left';
    context.fillText(fitted(context, rows.names[view.top + row], ROW_NAMES - 8), 2, y + area.rowHeight / 2);
    context.fillStyle = colours.line;
    context.fillRect(area.left, y + area.rowHeight - 1, area.right - area.left, 1);
  }
}

function rowOf(op) {
  return rows.place[rows.of[op]] - view.top;
}

function drawBars(area, from, to) {
  const { context } = area;
  const lanes = Array.from({ length: area.rows }, () => []);
  const bars = [];
  const add = (op) => {
    const row = rowOf(op);
    if (row < 0 || row >= area.rows) return;
    const left = Math.max(area.left, placeOf(area, ops.begun[op]));
    const right = Math.min(area.right, placeOf(area, Math.min(ops.end[op], whole.to)));
    const bar = { op, row, left, right: Math.max(right, left + 2), lane: 0 };
    const ends = lanes[row];
    bar.lane = ends.findIndex((end) => end <= bar.left);
    if (bar.lane < 0) bar.lane = ends.length;
    ends[bar.lane] = bar.right + 1;
    bars.push(bar);
  };
  goingOnAt(view.from, mostBars(area)).forEach(add);
  for (let at = from; at < to; at++) add(shown[at]);
  const heights = lanes.map((ends) => Math.max(2, Math.min(18, (area.rowHeight - 4) / Math.max(1, ends.length))));
  for (const bar of bars) {
    const height = heights[bar.row];
    // Lanes beyond the room there is begin again at the top.
    const fit = Math.max(1, Math.floor((area.rowHeight - 4) / height));
    const y = area.head + bar.row * area.rowHeight + 2 + (bar.lane % fit) * height;
    const thick = Math.max(1.5, height - 1);
    const outcome = OUTCOMES[ops.outcome[bar.op]];
    const width = bar.right - bar.left;
    context.fillStyle = colours[outcome];
    // What nobody knows the end of is pale, with a frame: it may not have happened at all.
    context.globalAlpha = outcome === 'info' ? 0.35 : 1;
    context.fillRect(bar.left, y, width, thick);
    context.globalAlpha = 1;
    if (outcome === 'info') {
      context.strokeStyle = colours.info;
      context.strokeRect(bar.left + 0.5, y + 0.5, Math.max(1, width - 1), Math.max(0.5, thick - 1));
    }
    if (ops.proof[bar.op]) mark(area, bar.left, y, width, thick, colours.bad);
    if (bar.op === view.chosen) mark(area, bar.left, y, width, thick, colours.ink);
    drawn.bars.push([bar.op, bar.left, bar.right, y, y + thick]);
    if (thick >= 11 && width > 44) {
      context.fillStyle = outcome === 'info' ? colours.ink : colours.paper;
      context.textAlign = 'left';
      context.fillText(fitted(context, what(bar.op), width - 6), bar.left + 3, y + thick / 2 + 0.5);
    }
  }
}

function mark(area, left, top, width, height, colour) {
  area.context.strokeStyle = colour;
  area.context.lineWidth = 2;
  area.context.strokeRect(left - 1, top - 1, width + 2, height + 2);
  area.context.lineWidth = 1;
}

/** What a full column stands for: the highest count, unless a few bursts would make all others invisible. Those are cut. */
function scaleOf(totals) {
  totals.sort((left, right) => left - right);
  const most = totals[totals.length - 1] ?? 1;
  const usual = totals[Math.floor(totals.length * 0.95)] ?? 1;
  return most > 4 * usual ? 2 * usual : most;
}

function drawCounts(area, from, to) {
  const { context } = area;
  const wide = columnWidth(area, (to - from) / Math.max(1, area.rows));
  const columns = Math.ceil((area.right - area.left) / wide);
  const counts = new Uint32Array(area.rows * columns * 4);
  const scale = (area.right - area.left) / wide / (view.to - view.from);
  const { place, of } = rows;
  const top = view.top;
  for (let at = from; at < to; at++) {
    const op = shown[at];
    const row = place[of[op]] - top;
    if (row < 0 || row >= area.rows) continue;
    const column = Math.min(columns - 1, ((ops.begun[op] - view.from) * scale) | 0);
    const cell = (row * columns + column) * 4;
    counts[cell + ops.outcome[op]]++;
    if (ops.proof[op]) counts[cell + 3]++;
  }
  const totals = [];
  for (let cell = 0; cell < counts.length; cell += 4) {
    const total = counts[cell] + counts[cell + 1] + counts[cell + 2];
    if (total) totals.push(total);
  }
  const most = scaleOf(totals);
  const high = area.rowHeight - 5;
  for (const outcome of [0, 1, 2]) {
    context.fillStyle = colours[OUTCOMES[outcome]];
    for (let row = 0; row < area.rows; row++) {
      const floor = area.head + (row + 1) * area.rowHeight - 1;
      for (let column = 0; column < columns; column++) {
        const cell = (row * columns + column) * 4;
        const number = counts[cell + outcome];
        if (!number) continue;
        // From the floor: ok, then fail, then info. What there is of any is seen.
        const below = outcome > 0 ? counts[cell] + (outcome > 1 ? counts[cell + 1] : 0) : 0;
        const foot = Math.min(high - 1.5, (below / most) * high);
        const height = Math.max(1.5, Math.min(high - foot, (number / most) * high));
        context.fillRect(area.left + column * wide, floor - foot - height, wide, height);
      }
    }
  }
  // A column that was cut has a torn top.
  context.fillStyle = colours.paper;
  for (let cell = 0; cell < counts.length / 4; cell++) {
    if (counts[cell * 4] + counts[cell * 4 + 1] + counts[cell * 4 + 2] <= most) continue;
    const top = area.head + Math.floor(cell / columns) * area.rowHeight + 4;
    context.fillRect(area.left + (cell % columns) * wide, top + 4, wide, 2);
  }
  context.fillStyle = colours.bad;
  for (let cell = 0; cell < counts.length / 4; cell++) {
    if (!counts[cell * 4 + 3]) continue;
    const row = Math.floor(cell / columns);
    const x = area.left + ((cell % columns) + 0.5) * wide;
    context.beginPath();
    context.moveTo(x - 5, area.head + row * area.rowHeight);
    context.lineTo(x + 5, area.head + row * area.rowHeight);
    context.lineTo(x, area.head + row * area.rowHeight + 7);
    context.fill();
  }
  drawn.counts = { counts, columns, wide };
}

/** The whole run in small, with the part that is shown. */
function drawOverview() {
  const height = 40;
  const area = prepare(overview, height);
  const wide = columnWidth(area, shown.length);
  const columns = Math.ceil((area.right - area.left) / wide);
  const counts = new Uint32Array(columns * 3);
  const scale = (area.right - area.left) / wide / (whole.to - whole.from);
  for (let at = 0; at < shown.length; at++) {
    const column = Math.min(columns - 1, ((ops.begun[shown[at]] - whole.from) * scale) | 0);
    counts[column * 3 + ops.outcome[shown[at]]]++;
  }
  let most = 1;
  for (let at = 0; at < columns; at++) most = Math.max(most, counts[at * 3] + counts[at * 3 + 1] + counts[at * 3 + 2]);
  drawFaults(area, 0, height, 0, whole);
  for (let column = 0; column < columns; column++) {
    let floor = height;
    for (const outcome of [0, 1, 2]) {
      const high = (counts[column * 3 + outcome] / most) * (height - 4);
      area.context.fillStyle = colours[OUTCOMES[outcome]];
      area.context.fillRect(area.left + column * wide, floor - high, wide, high);
      floor -= high;
    }
  }
  const { context } = area;
  const left = placeOf(area, view.from, whole);
  const right = Math.max(left + 3, placeOf(area, view.to, whole));
  context.globalAlpha = 0.6;
  context.fillStyle = colours.paper;
  context.fillRect(area.left, 0, left - area.left, height);
  context.fillRect(right, 0, area.right - right, height);
  context.globalAlpha = 1;
  context.strokeStyle = colours.ink;
  context.strokeRect(left + 0.5, 0.5, right - left - 1, height - 1);
  context.fillStyle = colours.faint;
  context.textAlign = 'left';
  context.fillText('whole run', 2, height / 2);
}

/** What is under the pointer: an operation, or how many there are, as text; null: nothing. */
function under(x, y) {
  const { area, bars, counts } = drawn;
  if (!area || x < area.left || x > area.right) return null;
  if (y < area.head) {
    const faults = faultsAt(timeAt(area, x), timeAt(area, x));
    return faults.length ? { text: faults.map(faultInWords).join('\n') } : null;
  }
  for (let at = bars.length - 1; at >= 0; at--) {
    const [op, left, right, top, bottom] = bars[at];
    if (x >= left - 2 && x <= right + 2 && y >= top - 1 && y <= bottom + 1) return { op };
  }
  const row = Math.floor((y - area.head) / area.rowHeight);
  if (!counts || row < 0 || row >= area.rows) return null;
  const column = Math.min(counts.columns - 1, Math.floor((x - area.left) / counts.wide));
  const cell = (row * counts.columns + column) * 4;
  const [ok, fail, info] = counts.counts.subarray(cell, cell + 3);
  const time = moment(timeAt(area, x), view.to - view.from);
  const name = rows.names[view.top + row];
  return { text: `${name}, ${time}: ${count(ok)} ok, ${count(fail)} fail, ${count(info)} info. Zoom in to see each.` };
}

/** The operation of that row that began nearest to the moment at `x`; -1: none near. */
function nearest(x, y) {
  const { area } = drawn;
  const row = Math.floor((y - area.head) / area.rowHeight);
  const time = timeAt(area, x);
  const start = firstFrom(time);
  let best = -1;
  let distance = (view.to - view.from) / 50;
  for (const step of [-1, 1]) {
    for (let at = step < 0 ? start - 1 : start; at >= 0 && at < shown.length; at += step) {
      const away = Math.abs(ops.begun[shown[at]] - time);
      if (away >= distance) break;
      if (rowOf(shown[at]) !== row) continue;
      best = shown[at];
      distance = away;
      break;
    }
  }
  return best;
}
