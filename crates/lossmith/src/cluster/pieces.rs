//! The connected pieces of instances.

/// Connected pieces of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Per pixel the number of its piece, from 1 on in the order of their first pixels; 0 where the label is 0.
    pub ids: Vec<u32>,
    /// The label that each piece is part of.
    pub labels: Vec<u32>,
}

/// Splits every label of an image, `width` pixels a row, into its connected pieces: pixels with a side in common. For objects that are
/// never in parts, as cells; leaves that cross are.
pub fn pieces(labels: &[u32], width: usize) -> Pieces {
    let mut found = Pieces { ids: vec![0; labels.len()], labels: Vec::new() };
    let mut open = Vec::new();
    for start in 0..labels.len() {
        let label = labels[start];
        if label == 0 || found.ids[start] > 0 {
            continue;
        }
        found.labels.push(label);
        let piece = found.labels.len() as u32;
        found.ids[start] = piece;
        open.push(start);
        while let Some(at) = open.pop() {
            for next in neighbours(at, width, labels.len()) {
                if labels[next] == label && found.ids[next] == 0 {
                    found.ids[next] = piece;
                    open.push(next);
                }
            }
        }
    }
    found
}

/// The pixels above, left, right and below.
fn neighbours(at: usize, width: usize, pixels: usize) -> impl Iterator<Item = usize> {
    let column = at % width;
    let sides = [
        (at >= width).then(|| at - width),
        (column > 0).then(|| at - 1),
        (column + 1 < width).then_some(at + 1),
        (at + width < pixels).then_some(at + width),
    ];
    sides.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_in_parts_is_split_and_corners_do_not_connect() {
        #[rustfmt::skip]
        let labels = [
            1, 1, 0, 2,
            0, 1, 2, 2,
            1, 0, 1, 0,
            1, 1, 1, 3,
        ];
        #[rustfmt::skip]
        let ids = [
            1, 1, 0, 2,
            0, 1, 2, 2,
            3, 0, 3, 0,
            3, 3, 3, 4,
        ];
        assert_eq!(pieces(&labels, 4), Pieces { ids: ids.to_vec(), labels: vec![1, 2, 1, 3] });
        assert!(pieces(&[], 4).labels.is_empty());
    }
}
