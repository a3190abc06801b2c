//! The two commands: words, no rules.
