//! `index.csv`: the pictures of a folder, their label images and their parts, as a table.

use std::path::{Path, PathBuf};

use super::{Files, Part};
use crate::source::Source;
use crate::{DataError, Result, limits};

/// The index of a folder.
const INDEX: &str = "index.csv";
/// Its columns; the first two must be there.
const COLUMNS: [&str; 3] = ["image", "label", "split"];

/// The `index.csv` of a folder that is not read, because none of its columns is `image` or `label`.
pub fn unread_index(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(INDEX);
    (path.is_file() && read_index(folder).is_ok_and(|index| index.is_none())).then_some(path)
}

/// Where the columns of an index are: image, label and perhaps split; `None` if it is an index of something else.
fn columns(path: &Path, headers: &csv::StringRecord) -> Result<Option<(usize, usize, Option<usize>)>> {
    let lower: Vec<String> = headers.iter().map(|h| h.trim().trim_start_matches('\u{feff}').to_lowercase()).collect();
    let column = |name: &str| lower.iter().position(|h| h == name);
    let expected = "expected the columns image, label and perhaps split, separated by commas";
    let fault = |what: String| DataError::record(path, "line 1", format!("{what}; {expected}"));
    match (column("image"), column("label")) {
        (Some(image), Some(label)) => match lower.iter().find(|h| !COLUMNS.contains(&h.as_str())) {
            Some(unknown) => Err(fault(format!("there is no use for a column '{unknown}'"))),
            None => Ok(Some((image, label, column("split")))),
        },
        (None, None) => {
            let speaks =
                |h: &String| h.split([';', '\t', '|', ' ']).any(|word| COLUMNS[..2].contains(&word.trim_matches('"')));
            match lower.iter().find(|h| speaks(h)) {
                Some(wrong) => Err(fault(format!("found '{}'", wrong.escape_debug()))),
                None => Ok(None),
            }
        }
        (image, _) => Err(fault(format!("there is no column {}", if image.is_some() { "label" } else { "image" }))),
    }
}

/// The samples that `index.csv` lists, if there is one and it has the columns `image` and `label`.
pub fn read_index(folder: &Path) -> Result<Option<Vec<Files>>> {
    let path = folder.join(INDEX);
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |e: csv::Error| match e.kind() {
        csv::ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            DataError::content(&path, limits::exceeded())
        }
        _ => DataError::content(&path, e.to_string()),
    };
    let mut reader = csv::Reader::from_reader(Source::open(&path)?.text());
    let headers = reader.headers().map_err(wrong)?.clone();
    let Some((image, label, split)) = columns(&path, &headers)? else { return Ok(None) };
    let mut found = Vec::new();
    for (at, row) in reader.records().enumerate() {
        let row = row.map_err(wrong)?;
        let field = |column: usize| row.get(column).unwrap_or_default().trim();
        let fault = |message: String| DataError::record(&path, format!("line {}", at + 2), message);
        for (name, column) in [("image", image), ("label", label)] {
            if !folder.join(field(column)).is_file() {
                return Err(fault(format!("{name} '{}': there is no such file", field(column))));
            }
        }
        let part = |column: usize| {
            let word = field(column);
            Part::of(word).ok_or_else(|| fault(format!("split '{}': {}", word.escape_debug(), Part::known())))
        };
        found.push(Files {
            name: Path::new(field(image)).with_extension("").to_string_lossy().into_owned(),
            picture: Some(folder.join(field(image))),
            label: folder.join(field(label)),
            part: split.map(part).transpose()?,
        });
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Labels, Picture, find, find_labels, find_pictures, read_folder, write_labels, write_picture};
    use super::*;

    #[test]
    fn an_index_says_only_what_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a", "b"] {
            write_picture(
                &root.join(format!("{name}_image.png")),
                &Picture { height: 1, width: 1, channels: 1, samples: vec![100] },
            )
            .unwrap();
            write_labels(&root.join(format!("{name}_label.png")), &Labels { height: 1, width: 1, ids: vec![1] })
                .unwrap();
        }
        let rows = |splits: [&str; 2]| {
            format!("a_image.png,a_label.png,{}\nb_image.png,b_label.png,{}\n", splits[0], splits[1])
        };
        let write = |text: &str| fs::write(root.join(INDEX), text).unwrap();
        for (splits, test) in
            [(["train", "valid"], "b_image"), (["dev", "Training"], "a_image"), (["tst", "trn"], "a_image")]
        {
            write(&format!("\u{feff}image,label,split\n{}", rows(splits)));
            assert_eq!(read_folder(root).unwrap().test[0].name, test);
        }
        let expected = "; expected the columns image, label and perhaps split, separated by commas";
        for (text, said) in [
            (
                format!("image,label,split\n{}", rows(["train", "tset"])),
                "index.csv, line 3: split 'tset': expected train, ",
            ),
            (format!("image,label,split\n{}", rows(["", "test"])), "index.csv, line 2: split '': expected train, "),
            (format!("image,label,part\n{}", rows(["train", "test"])), "there is no use for a column 'part'"),
            ("image;label;split\na_image.png;a_label.png;train\n".to_owned(), "line 1: found 'image;label;split'"),
            ("image\tlabel\na_image.png\ta_label.png\n".to_owned(), "line 1: found 'image\\tlabel'"),
            ("image,lable\na_image.png,a_label.png\n".to_owned(), "there is no column label"),
            ("picture,label\na_image.png,a_label.png\n".to_owned(), "there is no column image"),
        ] {
            write(&text);
            for error in [find(root).unwrap_err(), find_pictures(root).unwrap_err(), find_labels(root).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(said) && (error.contains("split '") || error.ends_with(expected)), "{error}");
            }
            assert_eq!(unread_index(root), None);
        }
        // An index of something else is told, and left alone.
        write("name,count\na,3\n");
        assert_eq!((find(root).unwrap().len(), unread_index(root)), (2, Some(root.join(INDEX))));
    }
}
