//! Every fuzz target of `fuzz/readers.rs` without a fuzzer.

#[allow(clippy::unwrap_used)]
#[path = "../../../fuzz/readers.rs"]
mod readers;

#[test]
fn every_reader_survives_its_corpus_and_what_is_near_it() {
    readers::set_limits();
    readers::replay::replay(readers::TARGETS);
}
