//! Node processes: spawn, ready, signal, restart, clean up.
