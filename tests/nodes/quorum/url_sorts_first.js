// expected: leader
// The bug: the node with the lowest id should lead, but each compares its id with the URLs of its peers. "n1" is not
// below "http://…", so nobody ever leads.
'use strict';
const { Node, serve } = require('./quorum_base.js');

class UrlSortsFirst extends Node {
  async elect() {
    if (this.peers.every((peer) => this.id < peer)) await super.elect();
  }
}

serve(new UrlSortsFirst());
