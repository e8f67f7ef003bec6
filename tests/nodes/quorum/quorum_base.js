// The quorum store of the course on Node's http module, answers in camelCase, with a version on every value and a token
// for sessions. What the scripts beside this one start. Durability "disk": whatever a node answers is in its log
// before, synced.
//
// A version is term * 1e9 + number within the term. A write is answered when max(W, majority) replicas hold it. A strong
// read returns the newest of R copies, once W replicas hold it. A token is the newest version its session was told of:
// read_your_writes is content with the local copy where that is as new, and is a strong read otherwise.
'use strict';
const fs = require('fs');
const http = require('http');

const PATIENCE_MS = 800;
const HEARTBEAT_MS = 150;
const TERM = 1e9;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => performance.now();

function post(url, path, body, timeoutMs = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
    const request = http.request(url + path, { method: 'POST', headers, agent: false }, (response) => {
      readAll(response).then((answer) => resolve(JSON.parse(answer))).catch(reject);
    });
    const timer = setTimeout(() => request.destroy(new Error('timeout')), timeoutMs);
    request.on('close', () => clearTimeout(timer));
    request.on('error', reject);
    request.end(text);
  });
}

async function readAll(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

class Node {
  constructor() {
    this.id = process.env.NODE_ID;
    this.port = Number(process.env.PORT);
    this.peers = (process.env.PEERS || '').split(',').map((url) => url.trim().replace(/\/$/, '')).filter(Boolean);
    this.total = this.peers.length + 1;
    this.majority = Math.floor(this.total / 2) + 1;
    this.writeQuorum = Number(process.env.WRITE_QUORUM || this.majority);
    this.readQuorum = Number(process.env.READ_QUORUM || this.majority);
    this.role = 'follower';
    this.leaderId = null;
    this.term = 0;
    this.votedFor = null;
    this.seq = 0;
    this.store = new Map(); // key -> { version, value, deleted }
    this.heard = new Map(); // peer -> when it last answered this leader
    this.load();
    this.waitAgain();
  }

  // --- the log ---

  load() {
    const path = `quorum-${this.id}.log`;
    if (fs.existsSync(path)) {
      // What stands behind the last line's end was never finished, so never answered.
      for (const line of fs.readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
        const record = JSON.parse(line);
        if (record.key !== undefined) this.keep(record.key, record.entry);
        else ({ term: this.term, votedFor: this.votedFor } = record);
      }
    }
    this.log = fs.openSync(`${path}.new`, 'w');
    this.record({ term: this.term, votedFor: this.votedFor });
    for (const [key, entry] of this.store) this.record({ key, entry });
    fs.renameSync(`${path}.new`, path);
  }

  record(what) {
    fs.writeSync(this.log, JSON.stringify(what) + '\n');
    fs.fdatasyncSync(this.log);
  }

  keep(key, entry) {
    const old = this.store.get(key);
    if (old && old.version >= entry.version) return false;
    this.store.set(key, entry);
    return true;
  }

  apply(key, entry) {
    if (this.keep(key, entry)) this.record({ key, entry });
  }

  // --- who leads ---

  waitAgain() {
    this.due = now() + 700 + Math.random() * 700;
  }

  /** A later term, in which this node follows until told otherwise. */
  enter(term, vote = null) {
    this.term = term;
    this.votedFor = vote;
    this.role = 'follower';
    this.leaderId = null;
    this.record({ term, votedFor: vote });
  }

  async runElections() {
    for (;;) {
      await sleep(50);
      if (this.role === 'leader') {
        const near = [...this.heard.values()].filter((heard) => now() - heard < 1500).length + 1;
        if (near < this.majority) {
          this.role = 'follower';
          this.leaderId = null;
          this.waitAgain();
        }
      } else if (now() >= this.due) {
        this.waitAgain();
        await this.elect();
      }
    }
  }

  async elect() {
    this.enter(this.term + 1, this.id);
    this.role = 'candidate';
    const term = this.term;
    const votes = await this.ask('/internal/vote', { term, candidateId: this.id }, this.majority - 1);
    if (1 + votes.length >= this.majority && this.term === term && this.role === 'candidate') {
      this.role = 'leader';
      this.leaderId = this.id;
      this.seq = 0;
      for (const peer of this.peers) this.heard.set(peer, now());
      console.log(`${this.id} leads term ${term}`);
    }
  }

  async sendHeartbeats(peer) {
    for (;;) {
      await sleep(HEARTBEAT_MS);
      if (this.role !== 'leader') continue;
      const term = this.term;
      const answer = await post(peer, '/internal/heartbeat', { term, leaderId: this.id }).catch(() => null);
      if (answer && answer.term > this.term) this.enter(answer.term);
      else if (answer && answer.success && this.term === term) this.heard.set(peer, now());
    }
  }

  /** Whether this leader's term is not over. */
  hear(term, leaderId) {
    if (term < this.term) return false;
    if (term > this.term) this.enter(term);
    this.role = 'follower';
    this.leaderId = leaderId;
    this.waitAgain();
    return true;
  }

  vote(term, candidateId) {
    if (term > this.term) this.enter(term);
    const success = term === this.term && (this.votedFor === null || this.votedFor === candidateId);
    if (success) {
      this.votedFor = candidateId;
      this.record({ term, votedFor: candidateId });
      this.waitAgain();
    }
    return { success, term: this.term };
  }

  // --- peers ---

  /** Asks all peers at once; the first `wanted` answers that succeed, fewer when all have answered or failed. */
  ask(path, body, wanted) {
    return new Promise((resolve) => {
      const good = [];
      let open = this.peers.length;
      if (wanted <= 0 || open === 0) resolve(good);
      for (const peer of this.peers) {
        post(peer, path, body)
          .then((answer) => answer.success && good.push(answer))
          .catch(() => {})
          .finally(() => {
            open -= 1;
            if (good.length >= wanted || open === 0) resolve(good.slice());
          });
      }
    });
  }

  internal(what, body) {
    switch (what) {
      case 'vote':
        return this.vote(body.term, body.candidateId);
      case 'get':
        return { success: true, entry: this.store.get(body.key) || null };
      case 'sync':
        return { success: true, store: this.whatPeersMayKnow() };
      case 'repair':
        this.apply(body.key, body.entry);
        return { success: true };
      default: { // heartbeat, replicate
        const success = this.hear(body.term, body.leaderId);
        if (success && what === 'replicate') this.apply(body.key, body.entry);
        return { success, term: this.term };
      }
    }
  }

  whatPeersMayKnow() {
    return Object.fromEntries(this.store);
  }

  /** Takes over what a peer has newer, for ever: what was missed arrives in the end. */
  async catchUp(peer) {
    for (;;) {
      await sleep(500);
      const answer = await post(peer, '/internal/sync', {}, 5000).catch(() => null);
      for (const [key, entry] of Object.entries(answer ? answer.store : {})) this.apply(key, entry);
    }
  }

  // --- clients ---

  answerToWrite(key, value, more) {
    const { leaderId, writeQuorum, term } = this;
    return { success: false, key, value, leaderId, achievedQuorum: false, writeQuorum, term, ...more };
  }

  /** The status and the body of the answer. */
  async write(key, value, deleted) {
    if (this.role !== 'leader') return [503, this.answerToWrite(key, value, { error: 'not the leader' })];
    this.seq += 1;
    const term = this.term;
    const entry = { version: term * TERM + this.seq, value, deleted };
    this.apply(key, entry);
    // Fewer than a majority would not notice that this leader was deposed in its sleep.
    const wanted = Math.max(this.writeQuorum, this.majority);
    const message = { term, leaderId: this.id, key, entry };
    const acks = 1 + (await this.ask('/internal/replicate', message, wanted - 1)).length;
    const { version } = entry;
    const told = { leaderId: this.id, term, version, acks };
    if (acks < wanted) return [500, this.answerToWrite(key, value, { ...told, error: 'no quorum in time: nobody knows' })];
    return [200, this.answerToWrite(key, value, { ...told, success: true, achievedQuorum: true, token: version })];
  }

  remove(key) {
    return this.write(key, null, true);
  }

  readLocal(key) {
    return this.store.get(key) || null;
  }

  /** Of several copies, null where a replica has none; this node's own comes first. */
  newest(entries) {
    return entries.reduce((best, entry) => (entry && (!best || entry.version > best.version) ? entry : best), null);
  }

  /** Rejects where too few answer. */
  async readStrong(key, quorum = this.readQuorum) {
    const own = this.readLocal(key);
    const answers = await this.ask('/internal/get', { key }, quorum - 1);
    if (answers.length < quorum - 1) throw new Error('too few replicas answered');
    const copies = [own, ...answers.slice(0, quorum - 1).map((answer) => answer.entry)];
    const entry = this.newest(copies);
    if (!entry) return null;
    // Without this a later reader might miss what this one returns.
    if (copies.filter((copy) => copy && copy.version === entry.version).length < this.writeQuorum) {
      this.apply(key, entry);
      const repaired = await this.ask('/internal/repair', { key, entry }, this.writeQuorum - 1);
      if (1 + repaired.length < this.writeQuorum) throw new Error('fewer than W replicas took what was read');
    }
    return entry;
  }

  async readYourWrites(key, token) {
    const own = this.readLocal(key);
    if (token === 0 || (own && own.version >= token)) return own;
    // Also where R + W <= N: writes are on max(W, majority) replicas, so at least on one of a majority.
    return this.readStrong(key, Math.max(this.readQuorum, this.majority));
  }

  async read(key, consistency, token) {
    const body = { key, value: null, nodeRole: this.role, consistency, nodeId: this.id, term: this.term };
    let entry;
    try {
      if (consistency === 'eventual') entry = this.readLocal(key);
      else if (consistency === 'read_your_writes') entry = await this.readYourWrites(key, token);
      else entry = await this.readStrong(key);
    } catch (error) {
      return [503, { ...body, error: error.message }];
    }
    const seen = { ...body, version: entry && entry.version, token: Math.max(token, entry ? entry.version : 0) };
    if (!entry || entry.deleted) return [404, { ...seen, error: 'not found' }];
    return [200, { ...seen, value: entry.value }];
  }

  status() {
    const kept = [...this.store].filter(([, entry]) => !entry.deleted);
    const store = Object.fromEntries(kept.map(([key, { value, version }]) => [key, { value, version }]));
    const config = { writeQuorum: this.writeQuorum, readQuorum: this.readQuorum, totalNodes: this.total };
    const { id: nodeId, role, term, leaderId } = this;
    return { nodeId, role, term, leaderId, totalKeys: kept.length, keys: Object.keys(store), config, store };
  }
}

async function handle(node, request) {
  const url = new URL(request.url, 'http://x');
  const text = await readAll(request);
  const route = `${request.method} ${url.pathname}`;
  if (route === 'GET /status') return [200, node.status()];
  if (route.startsWith('POST /internal/')) {
    return [200, node.internal(route.slice('POST /internal/'.length), JSON.parse(text))];
  }
  if (url.pathname.startsWith('/key/')) {
    const key = decodeURIComponent(url.pathname.slice('/key/'.length));
    if (request.method === 'PUT') return node.write(key, JSON.parse(text), false);
    if (request.method === 'DELETE') return node.remove(key);
    const token = Number(url.searchParams.get('token') || request.headers['x-session-token'] || 0);
    return node.read(key, url.searchParams.get('consistency') || 'strong', token);
  }
  return [404, { success: false, error: 'no such endpoint' }];
}

function serve(node) {
  const server = http.createServer((request, response) => {
    handle(node, request)
      .catch((error) => [400, { success: false, error: error.message }])
      .then(([status, body]) => {
        const text = JSON.stringify(body);
        const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
        response.writeHead(status, headers).end(text);
      });
  });
  server.listen(node.port, () => console.log(`node ${node.id} on port ${node.port}`));
  for (const peer of node.peers) {
    node.sendHeartbeats(peer);
    node.catchUp(peer);
  }
  node.runElections();
}

module.exports = { Node, serve, TERM };
