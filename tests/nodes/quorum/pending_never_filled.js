// expected: read-your-writes
// The bug: read_your_writes asks the quorum only for keys with pending writes, and nothing ever enters them there.
'use strict';
const { Node, serve } = require('./quorum_base.js');

class PendingNeverFilled extends Node {
  constructor() {
    super();
    this.pendingWrites = new Map();
  }

  async readYourWrites(key) {
    return this.pendingWrites.has(key) ? this.readStrong(key) : this.readLocal(key);
  }
}

serve(new PendingNeverFilled());
