//! The program `lossmith`.
fn main() {}
