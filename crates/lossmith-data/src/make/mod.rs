//! Generators: data without a download, the same bytes for the same seed and any number of threads.

pub mod digits;
pub mod holds;
pub mod hubs;
pub mod rosettes;
pub mod scenes;
pub mod shapes;
pub mod sticks;
