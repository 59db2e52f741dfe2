//! What is read and what is refused, record by record.

use std::fs;

use super::*;

const TRUTH: &str = r#"{
    "images": [{"id": 7, "file_name": "a.png", "width": 6, "height": 4, "license": 3}],
    "categories": [{"id": 2, "name": "disc", "supercategory": "shape"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0,
         "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
        {"id": 5, "image_id": 7, "category_id": 2, "bbox": [0, 0, 6, 4], "area": 20, "iscrowd": 1,
         "segmentation": {"size": [4, 6], "counts": [4, 20]}}
    ]}"#;

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gt.json");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn fault(from: &str, to: &str) -> String {
    assert!(TRUTH.contains(from));
    let (_folder, path) = file(&TRUTH.replace(from, to));
    let text = read(&path).unwrap_err().to_string();
    text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
}

#[test]
fn what_is_written_is_read_again() {
    let (folder, path) = file(TRUTH);
    let coco = read(&path).unwrap();
    assert_eq!((coco.images.len(), coco.annotations.len(), coco.annotations[1].iscrowd), (1, 2, 1));
    let copy = folder.path().join("copy.json");
    coco.write(&copy).unwrap();
    assert_eq!(read(&copy).unwrap(), coco);
    assert!(matches!(coco.write(&copy), Err(DataError::Exists(_))));
}

#[test]
fn faults_name_the_record() {
    assert_eq!(
        fault(r#""image_id": 7, "category_id": 2, "bbox": [1"#, r#""image_id": 8, "category_id": 2, "bbox": [1"#),
        ", annotation 0 (id 1): its image_id 8 is not among the 1 images"
    );
    assert_eq!(
        fault("[4, 20]", "[4, 21]"),
        ", annotation 1 (id 5): the counts add up to 25 pixels, expected 4 x 6 = 24"
    );
    assert_eq!(
        fault("[4, 6]", "[6, 4]"),
        ", annotation 1 (id 5): its mask is 6 x 4, but the image is 4 x 6 (rows x columns)"
    );
    assert_eq!(
        fault("[[1, 1, 3, 1, 3, 3, 1, 3]]", "[[1, 1, 3, 1]]"),
        ", annotation 0 (id 1): its polygon 0 has 4 numbers: expected pairs of x and y, 3 pairs or more"
    );
    assert_eq!(
        fault("[[1, 1, 3, 1, 3, 3, 1, 3]]", "[[1, 1, 3, 1, 3e9, 3]]"),
        ", annotation 0 (id 1): its polygon 0 has the coordinate 3000000000, far outside of the image"
    );
    assert_eq!(fault(r#""width": 6, "#, ""), ", image 0 (id 7): its size is 0 x 4: expected a 'width' and a 'height'");
    assert_eq!(fault(r#""categories""#, r#""classes""#), ": it has no 'categories', which COCO ground truth has");
    assert_eq!(
        fault(r#""width": 6"#, r#""width": 4000000000"#),
        ", image 0 (id 7): its size is 4000000000 x 4: expected 1 to 134217728 pixels in all"
    );
    assert!(fault(r#""images": [{"#, r#""images": {"id": [{"#).contains("expected a list of image records"));
    assert!(fault("{\n", "").contains("expected COCO ground truth, a JSON object"));
}

#[test]
fn detections_are_checked_against_their_truth() {
    let (_folder, path) = file(TRUTH);
    let truth = read(&path).unwrap();
    let fault = |text: &str| {
        let (_folder, path) = file(text);
        let text = read_detections(&path, &truth, Reading::default()).unwrap_err().to_string();
        text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
    };
    assert_eq!(
        fault(r#"[{"image_id": 8, "category_id": 2, "score": 1, "bbox": [0, 0, 1, 1]}]"#),
        ", result 0: its image_id 8 is not among the 1 images"
    );
    assert_eq!(
        fault(r#"[{"image_id": 7, "category_id": 2, "score": NaN, "bbox": [0, 0, 1, 1]}]"#),
        ", result 0: its score is NaN: expected a number"
    );
    assert_eq!(
        fault(r#"[{"image_id": 7, "category_id": 2, "score": 1}]"#),
        ", result 0: it has neither 'bbox' nor 'segmentation'"
    );
    assert_eq!(
        fault(r#"[{"image_id": 7, "category_id": 2, "score": 1, "bbox": [0, 0, -1, 1]}]"#),
        ", result 0: its bbox is [0.0, 0.0, -1.0, 1.0]: expected left, top, and a width and height of 0 or more"
    );
    assert_eq!(
        fault(r#"[{"image_id": 7, "category_id": 2, "score": 1, "segmentation": {"size": [4, 6], "counts": "é"}}]"#),
        ", result 0: the counts are no compressed run lengths: 'Ã' at 0"
    );
    assert!(
        fault("{}")
            .contains("expected COCO results, a JSON list: invalid type: map, expected a list of result records")
    );
    assert!(fault("[] 1").contains("trailing characters"));
}

/// Each edit of the truth is taken, and gives the same objects.
#[test]
fn what_exporters_write_is_taken() {
    let (_folder, path) = file(TRUTH);
    let plain = read(&path).unwrap();
    for (from, to) in [
        (r#""id": 7"#, r#""id": 7.0"#),
        (r#""id": 7"#, r#""id": "7""#),
        (r#""width": 6, "height": 4"#, r#""width": 6.0, "height": 4.0"#),
        (r#""iscrowd": 0"#, r#""iscrowd": false"#),
        (r#""iscrowd": 0"#, r#""iscrowd": null"#),
        (r#""iscrowd": 1"#, r#""iscrowd": true"#),
        (r#""area": 4, "#, ""),
        (r#""area": 20, "#, ""),
        (r#""bbox": [1, 1, 2, 2], "#, ""),
        (r#""bbox": [1, 1, 2, 2]"#, r#""bbox": []"#),
        (r#""bbox": [0, 0, 6, 4]"#, r#""bbox": null"#),
        ("[4, 20]", "[4.0, 20]"),
        (r#"{"size": [4, 6], "counts": [4, 20]}"#, r#"[{"size": [4, 6], "counts": [4, 20]}]"#),
        (
            r#"{"size": [4, 6], "counts": [4, 20]}"#,
            r#"[{"size": [4, 6], "counts": [4, 18, 2]}, {"size": [4, 6], "counts": [6, 18]}]"#,
        ),
        ("{\n", "\u{feff}{\n"),
        (r#""categories": ["#, r#""categories": [{"id": 2, "name": "disc"}, "#),
    ] {
        assert!(TRUTH.contains(from), "{from}");
        let (_folder, path) = file(&TRUTH.replacen(from, to, 1));
        let mut coco = read(&path).unwrap_or_else(|e| panic!("{to}: {e}"));
        // An id spelt otherwise is the only thing that may differ.
        coco.images[0].id = 7.into();
        coco.annotations.iter_mut().for_each(|a| a.image_id = 7.into());
        let bboxes = |coco: &Coco| coco.annotations.iter().map(|a| a.bbox).collect::<Vec<_>>();
        // The box around the second mask is that of its pixels.
        if !to.contains("null") || to.contains("iscrowd") {
            assert_eq!(bboxes(&coco), bboxes(&plain), "{to}");
        }
        coco.annotations.iter_mut().zip(&plain.annotations).for_each(|(a, b)| a.bbox = b.bbox);
        assert_eq!(coco, plain, "{to}");
    }
}

#[test]
fn an_area_that_is_missing_is_that_of_the_outline_or_else_of_the_box() {
    let outlined = TRUTH.replace(r#""area": 4, "#, "").replace(r#""area": 20, "#, "");
    let boxed = outlined.replace(r#""segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]"#, r#""segmentation": []"#);
    let areas = |text: &str, geometry| {
        let (_folder, path) = file(text);
        let (coco, _) = read_as(&path, Reading { geometry, ..Reading::default() }).unwrap();
        coco.annotations.iter().map(|a| a.area).collect::<Vec<_>>()
    };
    for geometry in [Geometry::Any, Geometry::Boxes] {
        assert_eq!(areas(&outlined, geometry), [4.0, 20.0]);
        assert_eq!(areas(&boxed.replace("[1, 1, 2, 2]", "[1, 1, 2, 3]"), geometry), [6.0, 20.0]);
    }
    assert!(areas(&TRUTH.replace(r#""area": 4"#, r#""area": NaN"#), Geometry::Any)[0].is_nan());
}

#[test]
fn ids_are_what_the_file_says() {
    let text = TRUTH.replace(r#""image_id": 7"#, r#""image_id": "a_1""#).replace(r#""id": 7"#, r#""id": "a_1""#);
    let text = text.replace(r#""category_id": 2"#, r#""category_id": -1"#).replace(r#""id": 2"#, r#""id": -1"#);
    let (folder, path) = file(&text.replace(r#", "name": "disc""#, ""));
    let coco = read(&path).unwrap();
    assert_eq!(
        (coco.images[0].id.clone(), coco.annotations[1].image_id.clone()),
        (Id::Text("a_1".into()), Id::Text("a_1".into()))
    );
    assert_eq!((coco.categories[0].id.clone(), coco.categories[0].name.as_str()), (Id::Number(-1), "category -1"));
    let copy = folder.path().join("copy.json");
    coco.write(&copy).unwrap();
    assert_eq!(read(&copy).unwrap(), coco);
    assert!(
        Id::Number(9) < Id::Number(10)
            && Id::Number(10) < Id::Text("1".into())
            && Id::Text("10".into()) < Id::Text("9".into())
    );
}

#[test]
fn messages_name_key_value_and_what_would_be_right() {
    for (from, to, wanted) in [
        (r#""id": 7"#, r#""id": 7.5"#, "image 0 (id 7.5): its id is 7.5: expected a whole number or a text"),
        (r#""id": 7, "#, "", "image 0: it has no 'id'"),
        (r#""width": 6"#, r#""width": "six""#, "its width is \"six\": expected a whole number of pixels"),
        (r#""iscrowd": 1"#, r#""iscrowd": "0""#, "annotation 1 (id 5): its iscrowd is \"0\": expected 0 or 1"),
        (r#""area": 4"#, r#""area": "4""#, "its area is \"4\": expected a number"),
        (
            "[[1, 1, 3, 1, 3, 3, 1, 3]]",
            "[1, 1, 3, 1, 3, 3]",
            "its segmentation is one list of numbers: expected a list of such lists",
        ),
        (
            "[[1, 1, 3, 1, 3, 3, 1, 3]]",
            "[[[1, 1], [3, 1], [3, 3]]]",
            "its polygon 0 is [[1,1],[3,1],[3,3]]: expected a list [x0, y0, x1, y1, ...]",
        ),
        ("[[1, 1, 3, 1, 3, 3, 1, 3]]", r#""poly""#, "its segmentation is \"poly\": expected polygons"),
        (r#""counts": [4, 20]"#, r#""counts": 3"#, "its mask's counts is 3: expected run lengths"),
        (r#""counts": [4, 20]"#, r#""counts": "b'40'""#, "written by Python's str(); expected .decode()"),
        (r#""bbox": [1, 1, 2, 2]"#, r#""bbox": [1, 1, 2]"#, "its bbox is [1,1,2]: expected left, top, width, height"),
        (
            r#""categories": ["#,
            r#""categories": [{"id": 2, "name": "x"}, "#,
            "category 1 (id 2): another category has the same id",
        ),
    ] {
        let message = fault(from, to);
        assert!(message.contains(wanted), "{to}: {message}");
    }
    let (_folder, path) = file("");
    fs::write(&path, [0xff, 0xfe, b'{', 0]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("it is UTF-16"));
}

#[test]
fn bad_records_may_be_left_out_and_are_counted() {
    let text = TRUTH.replace("[4, 20]", "[4, 21]").replace(r#""images": ["#, r#""images": [{"id": 1.5}, "#);
    let (_folder, path) = file(&text);
    let (coco, skipped) = read_as(&path, Reading { skip_bad: true, ..Reading::default() }).unwrap();
    assert_eq!((coco.images.len(), coco.annotations.len(), skipped.count), (1, 1, 2));
    assert!(skipped.first.unwrap().to_string().contains("image 0 (id 1.5): its id is 1.5"));
    let boxes = Reading { geometry: Geometry::Boxes, ..Reading::default() };
    let (coco, _) = read_as(&path, Reading { skip_bad: true, ..boxes }).unwrap();
    assert_eq!(coco.annotations.len(), 2);
    // Boxes need neither sizes nor masks that fit.
    let (_folder, path) = file(&TRUTH.replace("[4, 20]", "[4, 21]").replace(r#""width": 6, "height": 4, "#, ""));
    assert_eq!(read_as(&path, boxes).unwrap().0.annotations.len(), 2);
}

#[test]
fn results_of_unknown_categories_are_counted() {
    let (_folder, path) = file(TRUTH);
    let truth = read(&path).unwrap();
    let result = |category: u32| {
        format!(r#"{{"image_id": "7", "category_id": {category}, "score": -Infinity, "bbox": [0, 0, 1, 1]}}"#)
    };
    let (_folder, path) = file(&format!("[{}, {}, {}]", result(9), result(2), result(9)));
    let found = read_detections(&path, &truth, Reading::default()).unwrap();
    assert_eq!(found.unknown_categories, HashMap::from([(Id::Number(9), 2)]));
    assert_eq!(found.detections[0].image_id, Id::Number(7));
    assert_eq!(found.detections[0].score, f64::NEG_INFINITY);
}
