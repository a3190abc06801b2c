//! stub for now
fn main() {}
