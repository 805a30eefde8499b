//! Owns the way from documents to a snapshot: cross-check and compile; it never publishes.
