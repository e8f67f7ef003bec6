//! What people and programs are shown of a run; depends on check and history alone.
