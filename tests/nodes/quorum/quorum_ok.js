// expected: valid
// The quorum store as quorum_base.js has it; durability "disk".
'use strict';
const { Node, serve } = require('./quorum_base.js');

serve(new Node());
