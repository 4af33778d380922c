//! The project's own files: imports, sizes, names, wording, documentation and dependencies. Nothing
//! is built or started for these.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cycles;
mod dependency_policy;
mod documentation;
mod files;
mod imports;
mod layers;
mod rust_text;
mod shape;
mod source_file;
mod wording;
