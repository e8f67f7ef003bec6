// Which operations are shown, and which part of the run: all drawing goes by this.

const ops = decode();
/** The run from end to end, µs; a little more, so that nothing sits on the edge. */
const whole = { from: 0, to: Math.max(1000, meta.end_us * 1.01) };
/** The part that is shown, how operations are put into rows, and which operation is chosen (-1: none). */
const view = { ...whole, rows: 'node', top: 0, chosen: -1 };
/** What is shown only; null: all. `node`, `f` and `key` are places in their tables, `process` is a number. */
const filter = { node: null, f: null, outcome: null, key: null, process: null, proof: false };
/** The narrowest part that can be looked at, µs. */
const NARROWEST = 20;
/** Most rows that are drawn at once. */
const MOST_ROWS = 24;
/** Operations in a block of `blockEnd`. */
const BLOCK = 512;

const room = new Uint32Array(ops.n);
/** The operations that pass the filter, by when they began. */
let shown = room;
/** The latest end in each block of `shown`: what began long ago may still be going on. */
let blockEnd = new Float64Array(0);
/** The rows there are: names, and each operation's row by its group; `whole`: they do not depend on the part that is shown. */
let rows = { names: [], place: new Int32Array(0), whole: true };

function select() {
  let count = 0;
  const { node, f, outcome, key, process, proof } = filter;
  for (let at = 0; at < ops.n; at++) {
    if (node !== null && ops.node[at] !== node + 1) continue;
    if (f !== null && ops.f[at] !== f) continue;
    if (outcome !== null && ops.outcome[at] !== outcome) continue;
    if (key !== null && ops.key[at] !== key + 1) continue;
    if (process !== null && ops.process[at] !== process + 1) continue;
    if (proof && !ops.proof[at]) continue;
    room[count++] = at;
  }
  shown = room.subarray(0, count);
  blockEnd = new Float64Array(Math.ceil(count / BLOCK)).fill(-1);
  for (let at = 0; at < count; at++) {
    const block = (at / BLOCK) | 0;
    if (ops.end[shown[at]] > blockEnd[block]) blockEnd[block] = ops.end[shown[at]];
  }
  view.top = 0;
  arrange();
}

/** The place in `shown` of the first operation that began at `time` or later. */
function firstFrom(time) {
  let low = 0;
  let high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ops.begun[shown[middle]] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Operations that began before `time` and were still going on then; at most `most`, the latest ones. */
function goingOnAt(time, most) {
  const found = [];
  let at = firstFrom(time) - 1;
  while (at >= 0 && found.length < most) {
    const block = (at / BLOCK) | 0;
    if (blockEnd[block] < time) {
      at = block * BLOCK - 1;
      continue;
    }
    if (ops.end[shown[at]] >= time) found.push(shown[at]);
    at--;
  }
  return found.reverse();
}

const groups = {};

/** Each operation's group by what rows are made of, as small numbers, and the groups' names. */
function groupsBy(what) {
  if (groups[what]) return groups[what];
  if (what === 'process') {
    const places = new Map();
    const of = new Uint32Array(ops.n);
    const names = [];
    for (let at = 0; at < ops.n; at++) {
      const process = ops.process[at];
      let place = places.get(process);
      if (place === undefined) {
        place = names.push(process ? 'p' + (process - 1) : 'no client') - 1;
        places.set(process, place);
      }
      of[at] = place;
    }
    groups.process = { of, names };
  } else if (what === 'f') {
    groups.f = { of: ops.f, names: meta.functions };
  } else {
    const of = what === 'key' ? ops.key : ops.node;
    groups[what] = { of, names: ['no ' + what, ...(what === 'key' ? meta.keys : meta.nodes)] };
  }
  return groups[what];
}

/** Groups in the order of their rows: nodes as the workload has them, else by name, numbers as numbers. */
function orderOf(group) {
  if (!group.order) {
    group.order = group.names.map((_, place) => place);
    if (view.rows !== 'node') {
      // A collator does the same, and takes seconds for as many names as there can be.
      const parts = group.names.map((name) => {
        const [, text, number] = /^(.*?)(\d*)$/s.exec(name);
        return { text, number: Number(number) };
      });
      const compare = (left, right) => (left.text < right.text ? -1 : left.text > right.text ? 1 : left.number - right.number);
      group.order.sort((left, right) => compare(parts[left], parts[right]));
    }
  }
  return group.order;
}

/**
 * Makes the rows anew: one for each group that has an operation shown. Where that would be many (clients get a new process
 * after each unknown outcome), only those that have one in the part that is shown.
 */
function arrange() {
  const group = groupsBy(view.rows);
  const present = new Uint8Array(group.names.length);
  let there = 0;
  const add = (op) => {
    there += 1 - present[group.of[op]];
    present[group.of[op]] = 1;
  };
  for (let at = 0; at < shown.length; at++) add(shown[at]);
  const many = there > MOST_ROWS;
  if (many) {
    present.fill(0);
    for (let at = firstFrom(view.from), to = firstFrom(view.to); at < to; at++) add(shown[at]);
    goingOnAt(view.from, 10000).forEach(add);
  }
  const place = new Int32Array(group.names.length).fill(-1);
  const names = [];
  for (const at of orderOf(group)) {
    if (!present[at]) continue;
    place[at] = names.length;
    names.push(group.names[at]);
  }
  rows = { names, place, of: group.of, whole: !many };
}

function show(from, to) {
  const width = Math.min(Math.max(to - from, NARROWEST), whole.to - whole.from);
  view.from = Math.min(Math.max(whole.from, (from + to - width) / 2), whole.to - width);
  view.to = view.from + width;
}

/** Zooms by `factor` around `time`, which stays where it is. */
function zoom(factor, time) {
  const width = Math.min(Math.max((view.to - view.from) * factor, NARROWEST), whole.to - whole.from);
  const share = (time - view.from) / (view.to - view.from);
  const from = Math.min(Math.max(whole.from, time - share * width), whole.to - width);
  view.from = from;
  view.to = from + width;
}

function pan(share) {
  const width = view.to - view.from;
  const from = Math.min(Math.max(whole.from, view.from + share * width), whole.to - width);
  view.from = from;
  view.to = from + width;
}

/** Chooses the next operation shown (`step` 1) or the one before (-1), and follows it. */
function chooseBeside(step) {
  if (!shown.length) return;
  let at;
  if (view.chosen < 0) at = step > 0 ? firstFrom(view.from) : firstFrom(view.to) - 1;
  else {
    at = lowerPlace(view.chosen);
    if (step < 0 || shown[at] === view.chosen) at += step;
  }
  view.chosen = shown[Math.min(Math.max(at, 0), shown.length - 1)];
  const begun = ops.begun[view.chosen];
  if (begun < view.from || begun > view.to) {
    const half = (view.to - view.from) / 2;
    show(begun - half, begun + half);
  }
}

/** The first place in `shown` that is not before operation `op`. */
function lowerPlace(op) {
  let low = 0;
  let high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (shown[middle] < op) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Words for people.

function value(code) {
  if (code === 0) return 'nothing';
  return code % 2 ? String(unzigzag((code - 1) / 2)) : meta.texts[(code - 2) / 2];
}

/** A moment: 3.201 s, with as many digits as `width` µs (the part that is shown) asks for. */
function moment(us, width = 1e6) {
  const digits = Math.min(6, Math.max(1, Math.ceil(Math.log10(1e7 / width)) + 1));
  return (us / 1e6).toFixed(digits) + ' s';
}

/** A length of time: 812 µs, 1.23 ms, 4.5 s. */
function span(us) {
  if (us < 1000) return Math.round(us) + ' µs';
  if (us < 1e6) return Number((us / 1000).toPrecision(3)) + ' ms';
  return Number((us / 1e6).toPrecision(3)) + ' s';
}

function count(number) {
  return number.toLocaleString('en');
}

/** `write k3 = 17` */
function what(op) {
  const key = ops.key[op] ? ' ' + meta.keys[ops.key[op] - 1] : '';
  const f = meta.functions[ops.f[op]];
  // What did not end well has no answer; what was asked to be written is known all the same.
  const unanswered = ops.outcome[op] !== 0 && ops.value[op] === 0;
  return f + key + (unanswered || (!key && ops.value[op] === 0) ? '' : ' = ' + value(ops.value[op]));
}

function faultsAt(from, to) {
  return meta.faults.filter((fault) => fault.from <= to && (fault.to === null || fault.to >= from));
}

/** `kill B, 3.0 s to 7.0 s: B ended by signal 9` */
function faultInWords(fault) {
  const end = fault.to === null ? 'the end' : moment(fault.to, 1e7);
  return fault.label + ', ' + moment(fault.from, 1e7) + ' to ' + end + (fault.evidence ? ': ' + fault.evidence : '');
}

/** All there is to say of an operation, as [name, text] pairs. */
function details(op) {
  const node = ops.node[op] ? meta.nodes[ops.node[op] - 1] : '?';
  const told = [];
  const asked = ops.process[op] ? 'p' + (ops.process[op] - 1) + ' at ' + node : 'by ' + node + ' on its own';
  told.push(['operation', '#' + ops.index[op] + '  ' + what(op)]);
  told.push(['process', asked]);
  const outcome = { ok: 'ok', fail: 'fail: it certainly did not happen', info: 'info: nobody knows whether it happened' };
  const error = ops.error[op] ? ' (' + meta.errors[ops.error[op] - 1] + ')' : '';
  told.push(['outcome', outcome[OUTCOMES[ops.outcome[op]]] + error]);
  const end = ops.end[op] === Infinity ? 'never answered' : 'answered after ' + span(ops.end[op] - ops.begun[op]);
  told.push(['when', moment(ops.begun[op], 1000) + ', ' + end]);
  if (ops.origin[op]) {
    const origin = meta.origins[ops.origin[op] - 1];
    told.push(['version', 'ts ' + (ops.oddTs.get(op) ?? ops.ts[op]) + (origin ? ' of ' + origin : '')]);
  }
  const faults = faultsAt(ops.begun[op], Math.min(ops.end[op], whole.to));
  if (faults.length) told.push(['under', faults.map((fault) => fault.label).join(', ')]);
  if (ops.proof[op]) {
    const of = meta.violations.filter((violation) => violation.ops.includes(ops.index[op]));
    told.push(['proves', of.map((violation) => violation.title).join('; ')]);
  }
  return told;
}
