//! One run, start to end: setup, main, heal, settle, check, report, clean up.
