//! Reads the tree and holds what prose cannot: layers, fences, lengths, words, links, versions and every example.
//!
//! It knows no behaviour of the program; a rule that needs a running router belongs in `tests/it/`.

mod tidy {
    mod docs;
    mod examples;
    mod layers;
    mod packages;
    mod rules;
    mod source;
}
