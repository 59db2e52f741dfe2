//! Readers, writers and generators of vision data.
