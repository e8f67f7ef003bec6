//! The bundled systems under test. They share nothing with the rest of the crate.
