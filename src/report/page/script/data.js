// Reads what columns.rs wrote: numbers of seven bits a byte, in base64, one element a column.

const meta = JSON.parse(document.getElementById('run-data').textContent);
const OUTCOMES = ['ok', 'fail', 'info'];

/** Calls `put(place, number)` for each number of a column. */
function eachNumber(name, put) {
  const text = atob(document.getElementById('column-' + name).textContent);
  const length = text.length;
  let at = 0;
  let place = 0;
  while (at < length) {
    let byte = text.charCodeAt(at++);
    let number = byte & 127;
    // Not shifted: numbers may be longer than the 32 bits that shifts have.
    for (let scale = 128; byte > 127; scale *= 128) {
      byte = text.charCodeAt(at++);
      number += (byte & 127) * scale;
    }
    put(place++, number);
  }
}

/** 0, 1, 2, 3 … as 0, -1, 1, -2 … */
function unzigzag(number) {
  return number % 2 ? -(number + 1) / 2 : number / 2;
}

/** All numbers of a column that not every operation has one of. */
function numbers(name) {
  const all = [];
  eachNumber(name, (_, number) => all.push(number));
  return all;
}

/** Who did what, where, and under which version: `what` tells which of the other columns have a number for it. */
function decodeWhat(ops) {
  const nodes = numbers('node');
  const origins = numbers('origin');
  const stamps = numbers('ts');
  const nodeOf = new Map();
  const ownOrigin = meta.nodes.map((node) => {
    const place = meta.origins.indexOf(node);
    return 1 + (place < 0 ? meta.origins.push(node) - 1 : place);
  });
  let [nextNode, nextOrigin, nextStamp, stamp] = [0, 0, 0, 0];
  const delivered = meta.functions.indexOf('deliver');
  eachNumber('what', (at, what) => {
    const process = ops.process[at];
    if (what % 2 === 0) nodeOf.set(process, nodes[nextNode++]);
    ops.node[at] = nodeOf.get(process);
    const rest = (what - (what % 2)) / 2;
    const version = rest % 3;
    ops.outcome[at] = ((rest - version) / 3) % 3;
    ops.f[at] = (rest - (rest % 9)) / 9;
    if (ops.f[at] === delivered) ops.latency[at] = NaN;
    if (version === 0) return;
    ops.origin[at] = version === 1 ? ownOrigin[ops.node[at] - 1] : 1 + origins[nextOrigin++];
    const code = stamps[nextStamp++];
    if (code % 2) ops.oddTs.set(at, meta.texts[(code - 1) / 2]);
    else ops.ts[at] = stamp += unzigzag(code / 2);
  });
}

/** All operations, by when they began; times in µs since the run began. */
function decode() {
  const n = meta.count;
  const ops = {
    n,
    begun: new Float64Array(n),
    /** Infinity: it was never answered. */
    end: new Float64Array(n),
    index: new Float64Array(n),
    /** One more than the process; 0: none. */
    process: new Float64Array(n),
    f: new Uint16Array(n),
    outcome: new Uint8Array(n),
    /** One more than the place in the table; 0: none. So is `key`, and so are `origin` and `error`. */
    node: new Uint16Array(n),
    key: new Uint32Array(n),
    value: new Float64Array(n),
    origin: new Uint32Array(n),
    ts: new Float64Array(n),
    /** Timestamps that are no integers, as text. */
    oddTs: new Map(),
    error: new Uint32Array(n),
    /** Whether it is part of a violation's proof. */
    proof: new Uint8Array(n),
    /** log10 of its latency in µs; NaN: never answered, or nobody asked for it. */
    latency: new Float32Array(n),
  };
  let sum = 0;
  eachNumber('begun', (at, step) => (ops.begun[at] = sum += step));
  eachNumber('took', (at, took) => {
    ops.end[at] = took === 0 ? Infinity : ops.begun[at] + took - 1;
    ops.latency[at] = took === 0 ? NaN : Math.log10(Math.max(1, took - 1));
  });
  sum = 0;
  eachNumber('index', (at, step) => (ops.index[at] = sum += unzigzag(step)));
  eachNumber('process', (at, process) => (ops.process[at] = process));
  eachNumber('key', (at, id) => (ops.key[at] = id));
  eachNumber('value', (at, code) => (ops.value[at] = code));
  decodeWhat(ops);
  let at = 0;
  eachNumber('error', (place, number) => {
    if (place % 2) ops.error[at] = number + 1;
    else at += number;
  });
  const proofs = new Set(meta.violations.flatMap((violation) => violation.ops));
  if (proofs.size) for (let at = 0; at < n; at++) if (proofs.has(ops.index[at])) ops.proof[at] = 1;
  return ops;
}
