//! The words that people use for the parts of a data set, in the names of folders and files and in columns.

use std::path::Path;

use crate::{DataError, Result};

/// What a part of a data set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// To train on.
    Train,
    /// To judge by.
    Test,
}

const TRAIN: [&str; 4] = ["train", "training", "trn", "trainval"];
const TEST: [&str; 14] = [
    "val",
    "valid",
    "validation",
    "validate",
    "vld",
    "dev",
    "devel",
    "development",
    "test",
    "testing",
    "tst",
    "eval",
    "evaluation",
    "minival",
];

impl Part {
    /// The part that a name speaks of: a known word by itself (`Valid`), with a number (`val2`, `train2017`) or among others
    /// (`stage1_train`). A name that speaks of both parts, or of none, says nothing.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let words = || name.split(|c: char| !c.is_alphabetic());
        let speaks_of = |known: &[&str]| words().any(|word| known.contains(&word));
        match (speaks_of(&TRAIN), speaks_of(&TEST)) {
            (true, false) => Some(Self::Train),
            (false, true) => Some(Self::Test),
            _ => None,
        }
    }

    /// Whether a file is called by a word for this part alone: `valid.json`.
    pub(crate) fn names(self, file: &str, after: &str) -> bool {
        let known: &[&str] = if self == Self::Train { &TRAIN } else { &TEST };
        file.strip_suffix(after).is_some_and(|word| known.contains(&word.to_lowercase().as_str()))
    }

    /// The known words, for the error where there is none.
    pub fn known() -> String {
        format!("expected {} to train on, or {} to judge by", TRAIN.join(", "), TEST.join(", "))
    }

    /// The file of this part among the names `BEFORE part AFTER` of a folder: of several the one that has `favourite`, then the
    /// first by name.
    ///
    /// # Errors
    /// A name whose word is unknown.
    pub(crate) fn file<'n>(
        self,
        folder: &Path,
        names: &'n [String],
        (before, after): (&str, &str),
        favourite: &str,
    ) -> Result<Option<&'n str>> {
        let mut found: Vec<&str> = Vec::new();
        for name in names {
            let Some(word) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) else { continue };
            match Self::of(word) {
                Some(part) if part == self => found.push(name),
                Some(_) => {}
                None => {
                    let message = format!("'{word}' names no part of a data set; {}", Self::known());
                    return Err(DataError::content(&folder.join(name), message));
                }
            }
        }
        Ok(found.into_iter().min_by_key(|name| (!name[before.len()..].starts_with(favourite), *name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_parts_are_known() {
        for (part, names) in [
            (
                Some(Part::Train),
                &["train", "Training", "trn", "train2017", "train_2", "stage1_train", "trainval35k"][..],
            ),
            (
                Some(Part::Test),
                &[
                    "val",
                    "valid",
                    "Validation",
                    "val2",
                    "val_2017",
                    "dev",
                    "test",
                    "tst",
                    "testing",
                    "eval",
                    "test-dev",
                    "VAL",
                    "stage1_test",
                    "minival2014",
                    "images.val",
                ],
            ),
            (None, &["", "A1", "device", "contest", "retrain", "train_test", "plants", "fold2"]),
        ] {
            for name in names {
                assert_eq!(Part::of(name), part, "{name}");
            }
        }
    }

    #[test]
    fn a_file_is_found_by_its_part() {
        let names = ["instances_val2017.json", "instances_val2014.json", "instances_train2014.json", "other.json"];
        let mut names = names.map(str::to_owned).to_vec();
        let find = |names: &[String], part: Part| {
            let found = part.file(Path::new("a"), names, ("instances_", ".json"), "val");
            found.map(|found| found.map(str::to_owned)).map_err(|e| e.to_string())
        };
        assert_eq!(find(&names, Part::Test).unwrap().unwrap(), "instances_val2014.json");
        assert_eq!(find(&names, Part::Train).unwrap().unwrap(), "instances_train2014.json");
        names.push("instances_tset.json".to_owned());
        let error = find(&names, Part::Test).unwrap_err();
        assert!(
            error.starts_with("a/instances_tset.json: 'tset' names no part of a data set; expected train, "),
            "{error}"
        );
    }
}
