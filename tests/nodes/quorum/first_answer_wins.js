// expected: quorum
// The bug: a quorum read asks R replicas and returns the first answer that is not null, not the newest.
'use strict';
const { Node, serve } = require('./quorum_base.js');

class FirstAnswerWins extends Node {
  newest(entries) {
    return entries.find((entry) => entry && !entry.deleted) || null;
  }
}

serve(new FirstAnswerWins());
