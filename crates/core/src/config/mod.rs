//! Configuration: from a file's text to checked settings, with every mistake reported.

pub mod settings;
