// expected: convergence
// The bug: the leader notes a deletion in its own map and tells nobody, so its peers keep the value.
'use strict';
const { Node, serve, TERM } = require('./quorum_base.js');

class DeleteNotReplicated extends Node {
  async remove(key) {
    if (this.role !== 'leader') return [503, this.answerToWrite(key, null, { error: 'not the leader' })];
    this.seq += 1;
    const version = this.term * TERM + this.seq;
    this.apply(key, { version, value: null, deleted: true });
    const told = { version, token: version, acks: this.writeQuorum };
    return [200, this.answerToWrite(key, null, { ...told, success: true, achievedQuorum: true })];
  }

  whatPeersMayKnow() {
    return Object.fromEntries([...this.store].filter(([, entry]) => !entry.deleted));
  }
}

serve(new DeleteNotReplicated());
