//! The program `lossmith`.

// Until search, compare and report call them.
#[allow(dead_code, unused_imports)]
mod plot;
#[allow(dead_code, unused_imports)]
mod report;

fn main() {}
