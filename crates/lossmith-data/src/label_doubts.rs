//! Label images that may not mean what they say: masks of foreground in which no object has an id of its own, and the 255 that
//! some data sets put where nothing is to be counted.

use crate::label_images::Labels;

/// What is odd about one label image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddity {
    /// Different ids, without background.
    objects: usize,
    /// Whether it has one id, in pieces that do not touch.
    in_pieces: bool,
    /// The id before 255, where that is the greatest and the next one is much smaller.
    before_255: Option<u32>,
}

impl Labels {
    /// What is odd about them.
    pub fn oddity(&self) -> Oddity {
        let ids = self.distinct();
        let before_255 = match ids[..] {
            [.., before, 255] if before < 254 => Some(before),
            _ => None,
        };
        Oddity { objects: ids.len(), in_pieces: ids.len() == 1 && self.is_in_pieces(), before_255 }
    }

    /// Whether what is not background falls into several pieces, corners counted as touching.
    fn is_in_pieces(&self) -> bool {
        let mut left: Vec<bool> = self.ids.iter().map(|id| *id > 0).collect();
        let Some(first) = left.iter().position(|l| *l) else { return false };
        let mut reached = vec![first];
        left[first] = false;
        while let Some(at) = reached.pop() {
            let (y, x) = (at / self.width, at % self.width);
            for v in y.saturating_sub(1)..(y + 2).min(self.height) {
                for u in x.saturating_sub(1)..(x + 2).min(self.width) {
                    if std::mem::take(&mut left[v * self.width + u]) {
                        reached.push(v * self.width + u);
                    }
                }
            }
        }
        left.contains(&true)
    }
}

/// What a user should know about some label images, one sentence each; names are for the first of each kind.
pub fn doubts<'a>(images: impl IntoIterator<Item = (&'a str, Oddity)>) -> Vec<String> {
    let images: Vec<(&str, Oddity)> = images.into_iter().filter(|(_, o)| o.objects > 0).collect();
    let first = |is: fn(&Oddity) -> bool| images.iter().find(|(_, o)| is(o)).map(|(name, _)| *name);
    let mut found = Vec::new();
    if images.iter().all(|(_, o)| o.objects == 1)
        && let Some(name) = first(|o| o.in_pieces)
    {
        found.push(format!(
            "in none of {} label images is there a second id, though the one id is in several pieces ('{name}' is the first): objects are told apart by their ids, so that a mask of foreground is one object",
            images.len()
        ));
    }
    if let Some(name) = first(|o| o.before_255.is_some()) {
        let count = images.iter().filter(|(_, o)| o.before_255.is_some()).count();
        found.push(format!(
            "in {count} of {} label images the ids leap to 255 ('{name}' is the first), which is counted as an object: where it marks borders or what is to be left out, set it to 0",
            images.len()
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ids: [u32; 12]) -> Labels {
        Labels { height: 3, width: 4, ids: ids.to_vec() }
    }

    #[test]
    fn masks_of_foreground_and_borders_are_doubted() {
        let one_piece = labels([0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0]);
        let pieces = labels([255, 255, 0, 0, 255, 255, 0, 255, 0, 0, 0, 255]);
        let objects = labels([1, 1, 0, 0, 1, 2, 0, 2, 0, 0, 0, 2]);
        let border = labels([1, 255, 2, 2, 1, 255, 2, 2, 255, 0, 0, 0]);
        let full = labels([250, 251, 252, 253, 254, 255, 1, 2, 3, 4, 5, 6]);
        let of = |some: &[&Labels]| doubts(some.iter().map(|l| ("a", l.oddity())).collect::<Vec<_>>());
        assert_eq!(of(&[&one_piece, &labels([0; 12])]), Vec::<String>::new());
        assert_eq!(of(&[&pieces, &objects, &full]), Vec::<String>::new());
        assert!(of(&[&one_piece, &pieces])[0].starts_with("in none of 2 label images is there a second id"));
        let found = of(&[&objects, &border, &full]);
        assert!(found.len() == 1 && found[0].starts_with("in 1 of 3 label images the ids leap to 255"), "{found:?}");
        assert_eq!(of(&[]), Vec::<String>::new());
    }
}
