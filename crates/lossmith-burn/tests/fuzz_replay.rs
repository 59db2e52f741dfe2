//! Every fuzz target of `fuzz/models.rs` without a fuzzer.

#[allow(clippy::unwrap_used)]
#[path = "../../../fuzz/models.rs"]
mod models;

#[test]
fn every_model_file_survives_its_corpus_and_what_is_near_it() {
    models::replay::replay(models::TARGETS);
}
