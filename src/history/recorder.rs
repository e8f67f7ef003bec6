//! Recording `history.jsonl`.
