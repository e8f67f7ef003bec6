// Latency and rate over the part of the run that is shown, of the operations that pass the filter.

const latencyChart = document.getElementById('latency');
const rateChart = document.getElementById('rate');
/** Steps a decade of latency is counted in, for quantiles. */
const STEPS = 48;
/** Width of a bucket of time, px. */
const BUCKET = 8;
/** Up to so many operations are drawn as points of their own. */
const MOST_POINTS = 6000;
const QUANTILES = [[0.5, 'p50', []], [0.95, 'p95', [6, 3]], [0.99, 'p99', [2, 2]]];

/** What the harness asked for itself, and what nobody asked for, is no load: it counts only where it was filtered for. */
const own = meta.functions.map((name) => ['snapshot', 'status', 'deliver'].includes(name));

function isLoad(op) {
  return filter.f !== null || !own[ops.f[op]];
}

/** Lowest and highest latency of the run, as whole powers of ten of µs. */
const decades = (() => {
  let low = Infinity;
  let high = -Infinity;
  for (let op = 0; op < ops.n; op++) {
    const latency = ops.latency[op];
    if (own[ops.f[op]] || !(latency >= 0)) continue;
    if (latency < low) low = latency;
    if (latency > high) high = latency;
  }
  if (low > high) return null;
  const floor = Math.floor(low);
  return { low: floor, high: Math.max(floor + 1, Math.ceil(high + 0.001)) };
})();

function drawLatency() {
  const area = prepare(latencyChart, 210);
  const { context } = area;
  const top = 6;
  const bottom = area.height - 20;
  drawFaults(area, top, bottom, 0);
  drawTimes(area, bottom);
  if (!decades) return;
  const y = (latency) => bottom - ((latency - decades.low) / (decades.high - decades.low)) * (bottom - top);
  for (let decade = decades.low; decade <= decades.high; decade++) {
    const line = Math.round(y(decade)) + 0.5;
    context.fillStyle = colours.line;
    context.fillRect(area.left, line - 0.5, area.right - area.left, 1);
    context.fillStyle = colours.faint;
    context.textAlign = 'right';
    context.fillText(span(10 ** decade), area.left - 6, Math.min(bottom - 4, Math.max(top + 5, line)));
  }
  const from = firstFrom(view.from);
  const to = firstFrom(view.to);
  if (to - from <= MOST_POINTS) drawPoints(area, from, to, y);
  else drawCloud(area, from, to, top, bottom);
  drawQuantiles(area, from, to, y);
  drawMoment(area, top, bottom);
}

function drawPoints(area, from, to, y) {
  const { context } = area;
  for (let at = from; at < to; at++) {
    const op = shown[at];
    if (!(ops.latency[op] >= 0) || !isLoad(op)) continue;
    context.fillStyle = colours[OUTCOMES[ops.outcome[op]]];
    context.globalAlpha = 0.75;
    context.fillRect(placeOf(area, ops.begun[op]) - 1.5, y(ops.latency[op]) - 1.5, 3, 3);
    if (ops.proof[op]) {
      context.globalAlpha = 1;
      context.strokeStyle = colours.bad;
      context.lineWidth = 2;
      context.strokeRect(placeOf(area, ops.begun[op]) - 4, y(ops.latency[op]) - 4, 8, 8);
      context.lineWidth = 1;
    }
  }
  context.globalAlpha = 1;
}

/** Too many for points: each cell of 2 by 2 px is the stronger coloured the more operations are in it. */
function drawCloud(area, from, to, top, bottom) {
  const width = Math.ceil((area.right - area.left) / 2);
  const height = Math.ceil((bottom - top) / 2);
  const cells = new Uint32Array(width * height * 3);
  const across = width / (view.to - view.from);
  const up = height / (decades.high - decades.low);
  const all = filter.f !== null;
  for (let at = from; at < to; at++) {
    const op = shown[at];
    const latency = ops.latency[op];
    if (!(latency >= 0) || (!all && own[ops.f[op]])) continue;
    const column = Math.min(width - 1, ((ops.begun[op] - view.from) * across) | 0);
    const row = Math.max(0, height - 1 - (((latency - decades.low) * up) | 0));
    cells[(row * width + column) * 3 + ops.outcome[op]]++;
  }
  const most = cells.reduce((most, number) => Math.max(most, number), 1);
  const image = new ImageData(width, height);
  const paint = OUTCOMES.map((outcome) => rgb(colours[outcome]));
  for (let cell = 0; cell < width * height; cell++) {
    // The colour is that of most; the timeline above shows the few.
    const [ok, fail, info] = cells.subarray(cell * 3, cell * 3 + 3);
    const outcome = info > ok && info > fail ? 2 : fail > ok ? 1 : 0;
    const number = cells[cell * 3 + outcome];
    if (!number) continue;
    const strength = 0.35 + 0.65 * (Math.log(1 + number) / Math.log(1 + most));
    image.data.set([...paint[outcome], 255 * strength], cell * 4);
  }
  const picture = document.createElement('canvas');
  picture.width = width;
  picture.height = height;
  picture.getContext('2d').putImageData(image, 0, 0);
  area.context.imageSmoothingEnabled = false;
  area.context.drawImage(picture, area.left, top, width * 2, height * 2);
}

/** `#rgb` or `#rrggbb` as three numbers. */
function rgb(colour) {
  const digits = colour.length === 4 ? [...colour.slice(1)].map((digit) => digit + digit).join('') : colour.slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

/** p50, p95 and p99 of the operations that ended ok, in buckets of time. */
function drawQuantiles(area, from, to, y) {
  const { context } = area;
  // A quantile of a handful of operations would be the handful.
  const enough = Math.floor((to - from) / 30);
  const buckets = Math.max(1, Math.min(enough, Math.floor((area.right - area.left) / BUCKET)));
  const steps = Math.ceil((decades.high - decades.low) * STEPS) + 1;
  const counts = new Uint32Array(buckets * steps);
  const totals = new Uint32Array(buckets);
  const scale = buckets / (view.to - view.from);
  const all = filter.f !== null;
  for (let at = from; at < to; at++) {
    const op = shown[at];
    const latency = ops.latency[op];
    if (ops.outcome[op] !== 0 || !(latency >= 0) || (!all && own[ops.f[op]])) continue;
    const bucket = Math.min(buckets - 1, ((ops.begun[op] - view.from) * scale) | 0);
    counts[bucket * steps + Math.max(0, Math.min(steps - 1, ((latency - decades.low) * STEPS) | 0))]++;
    totals[bucket]++;
  }
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.4;
  for (const [quantile, , dash] of QUANTILES) {
    context.setLineDash(dash);
    context.beginPath();
    let drawing = false;
    for (let bucket = 0; bucket < buckets; bucket++) {
      if (!totals[bucket]) {
        drawing = false;
        continue;
      }
      let left = Math.ceil(totals[bucket] * quantile);
      let step = 0;
      while (step < steps - 1 && (left -= counts[bucket * steps + step]) > 0) step++;
      const x = area.left + (bucket + 0.5) * ((area.right - area.left) / buckets);
      const line = y(decades.low + (step + 0.5) / STEPS);
      if (drawing) context.lineTo(x, line);
      else {
        context.moveTo(x - 4, line);
        context.lineTo(x, line);
      }
      drawing = true;
    }
    context.stroke();
  }
  context.setLineDash([]);
  context.lineWidth = 1;
}

function drawRate() {
  const area = prepare(rateChart, 130);
  const { context } = area;
  const top = 6;
  const bottom = area.height - 20;
  const from = firstFrom(view.from);
  const to = firstFrom(view.to);
  // A bar for a single operation would tell a rate that never was.
  const enough = Math.floor((to - from) / 5);
  const buckets = Math.max(1, Math.min(enough, Math.floor((area.right - area.left) / 4)));
  const counts = new Uint32Array(buckets * 3);
  const scale = buckets / (view.to - view.from);
  for (let at = from; at < to; at++) {
    const op = shown[at];
    if (!isLoad(op)) continue;
    counts[Math.min(buckets - 1, ((ops.begun[op] - view.from) * scale) | 0) * 3 + ops.outcome[op]]++;
  }
  let most = 1;
  for (let at = 0; at < buckets; at++) most = Math.max(most, counts[at * 3] + counts[at * 3 + 1] + counts[at * 3 + 2]);
  drawFaults(area, top, bottom, 0);
  drawTimes(area, bottom);
  const seconds = (view.to - view.from) / 1e6 / buckets;
  const width = (area.right - area.left) / buckets;
  for (let bucket = 0; bucket < buckets; bucket++) {
    let floor = bottom;
    // On whole pixels: edges between them would show as stripes.
    const left = Math.round(area.left + bucket * width);
    const right = Math.round(area.left + (bucket + 1) * width);
    for (const outcome of [0, 1, 2]) {
      const high = (counts[bucket * 3 + outcome] / most) * (bottom - top - 8);
      context.fillStyle = colours[OUTCOMES[outcome]];
      context.fillRect(left, floor - high, right - left, high);
      floor -= high;
    }
  }
  context.fillStyle = colours.faint;
  context.textAlign = 'right';
  const highest = most / seconds;
  context.fillText((highest >= 10 ? count(Math.round(highest)) : highest.toPrecision(2)) + '/s', area.left - 6, top + 8);
  context.fillText('0', area.left - 6, bottom - 5);
  drawMoment(area, top, bottom);
}
