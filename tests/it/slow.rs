//! Many clients that come at once, do nothing, or take everything: memory stays bounded and others are served.

mod descriptors;
mod idle;
mod storms;
