//! Predicates in groups - spatial, possessive, action, ... - from a file, or by name for VRD and VG150.
//!
//! A file is one JSON object: `{"spatial": ["on", "under"], "action": ["holds"]}`. Predicates that are in no group are `other`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::graph_json::read_json;
use crate::{DataError, Result};

/// A group: its name and its predicates, from 1.
pub type Group = (String, Vec<u32>);

/// The names of VRD's 70 and VG150's 50 predicates by what they are about; the rest, at home in none, is `other`.
const BY_NAME: [(&str, &[&str]); 4] = [
    (
        "spatial",
        &[
            "on",
            "next to",
            "above",
            "behind",
            "in the front of",
            "in front of",
            "under",
            "near",
            "in",
            "below",
            "beside",
            "over",
            "by",
            "beneath",
            "on the top of",
            "on the left of",
            "on the right of",
            "at",
            "against",
            "inside",
            "adjacent to",
            "across",
            "along",
            "between",
            "on back of",
            "outside of",
            "taller than",
        ],
    ),
    (
        "possessive",
        &[
            "has",
            "of",
            "with",
            "wear",
            "wears",
            "wearing",
            "part of",
            "belonging to",
            "contain",
            "made of",
            "for",
            "from",
        ],
    ),
    (
        "action",
        &[
            "walk to",
            "walk",
            "walk past",
            "hold",
            "holding",
            "ride",
            "riding",
            "carry",
            "carrying",
            "look",
            "looking at",
            "use",
            "using",
            "touch",
            "watch",
            "watching",
            "drive",
            "eat",
            "eating",
            "pull",
            "talk",
            "fly",
            "flying in",
            "face",
            "play with",
            "playing",
            "follow",
            "hit",
            "feed",
            "kick",
            "says",
            "walking in",
        ],
    ),
    (
        "posture",
        &[
            "sleep next to",
            "sit next to",
            "stand next to",
            "park next",
            "walk next to",
            "stand behind",
            "sit behind",
            "park behind",
            "stand under",
            "sit under",
            "walk beside",
            "sit on",
            "sitting on",
            "stand on",
            "standing on",
            "park on",
            "parked on",
            "lying on",
            "laying on",
            "lean on",
            "sleep on",
            "rest on",
            "skate on",
            "drive on",
            "walking on",
            "attach to",
            "attached to",
            "cover",
            "covering",
            "covered in",
            "growing on",
            "hanging from",
            "mounted on",
            "painted on",
        ],
    ),
];

/// The groups of VRD and VG150 by name; other predicates are in `other`.
pub fn by_name(predicates: &[String]) -> Vec<Group> {
    let groups = BY_NAME.iter().map(|(group, names)| (*group, names.iter().map(|n| (*n).to_owned()).collect()));
    let groups: Vec<(&str, Vec<String>)> = groups.collect();
    with_other(predicates, groups.iter().map(|(group, names)| (*group, names.as_slice())))
}

/// `default` is [`by_name`], anything else a file.
///
/// # Errors
/// As [`read`].
pub fn choose(choice: &str, predicates: &[String]) -> Result<Vec<Group>> {
    if choice == "default" { Ok(by_name(predicates)) } else { read(Path::new(choice), predicates) }
}

/// Reads groups from a file.
///
/// # Errors
/// No JSON of this form, a name that is no predicate, or a predicate in two groups.
pub fn read(path: &Path, predicates: &[String]) -> Result<Vec<Group>> {
    let groups: BTreeMap<String, Vec<String>> = read_json(path)?;
    let mut home: BTreeMap<&str, &str> = BTreeMap::new();
    for (group, names) in &groups {
        for name in names {
            if !predicates.contains(name) {
                return Err(DataError::content(path, format!("group '{group}': there is no predicate '{name}'")));
            }
            if let Some(other) = home.insert(name, group) {
                return Err(DataError::content(path, format!("'{name}' is in '{other}' and in '{group}'")));
            }
        }
    }
    Ok(with_other(predicates, groups.iter().map(|(group, names)| (group.as_str(), names.as_slice()))))
}

fn with_other<'a>(predicates: &[String], groups: impl Iterator<Item = (&'a str, &'a [String])>) -> Vec<Group> {
    let mut left: Vec<u32> = (1..=predicates.len() as u32).collect();
    let mut all: Vec<Group> = Vec::new();
    for (group, names) in groups {
        let own = |p: &u32| names.contains(&predicates[*p as usize - 1]);
        all.push((group.to_owned(), left.iter().copied().filter(own).collect()));
        left.retain(|p| !own(p));
    }
    all.push(("other".to_owned(), left));
    all.retain(|(_, own)| !own.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn every_predicate_has_one_home() {
        let predicates = names(&["on", "wear", "glorp", "eat", "sit on"]);
        let groups = by_name(&predicates);
        let wanted = [("spatial", 1), ("possessive", 2), ("action", 4), ("posture", 5), ("other", 3)];
        assert_eq!(groups, wanted.map(|(g, p)| (g.to_owned(), vec![p])));
    }

    #[test]
    fn files_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.json");
        let predicates = names(&["on", "wear"]);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path, &predicates).map_err(|e| e.to_string())
        };
        assert_eq!(read(r#"{"a": ["wear"]}"#).unwrap(), [("a".to_owned(), vec![2]), ("other".to_owned(), vec![1])]);
        assert!(read(r#"{"a": ["were"]}"#).unwrap_err().contains("group 'a': there is no predicate 'were'"));
        assert!(read(r#"{"a": ["on"], "b": ["on"]}"#).unwrap_err().contains("'on' is in 'a' and in 'b'"));
    }
}
