//! Reading `history.jsonl`.
