//! A random stream whose place can be saved and found again.

use rand::rand_core::{Infallible, TryRng};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// ChaCha8 for one purpose: a seed, the number of the purpose, and a place in the stream, which is all that is saved.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Place", into = "Place")]
pub struct Stream {
    seed: u64,
    rng: ChaCha8Rng,
}

#[derive(Serialize, Deserialize)]
struct Place {
    seed: u64,
    purpose: u64,
    position: u64,
}

impl Stream {
    /// The beginning of the stream of one purpose.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose);
        Self { seed, rng }
    }

    fn place(&self) -> Place {
        // 2^64 words are five centuries of drawing at 1e9 words a second, so the upper bits are never set.
        let position = self.rng.get_word_pos() as u64;
        Place { seed: self.seed, purpose: self.rng.get_stream(), position }
    }
}

impl From<Place> for Stream {
    fn from(place: Place) -> Self {
        let mut stream = Self::new(place.seed, place.purpose);
        stream.rng.set_word_pos(u128::from(place.position));
        stream
    }
}

impl From<Stream> for Place {
    fn from(stream: Stream) -> Self {
        stream.place()
    }
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        self.place().into()
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.rng.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.rng.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rng.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_place_is_found_again_at_every_offset() {
        for drawn in 0..200 {
            let mut stream = Stream::new(u64::MAX, 3);
            for _ in 0..drawn {
                stream.next_u32();
            }
            let text = serde_json::to_string(&stream).unwrap();
            let mut again: Stream = serde_json::from_str(&text).unwrap();
            assert_eq!(again, stream);
            for _ in 0..70 {
                assert_eq!(again.next_u64(), stream.next_u64());
            }
        }
    }

    #[test]
    fn seeds_and_purposes_differ() {
        let first = |seed, purpose| Stream::new(seed, purpose).next_u64();
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1, 0), first(1, 1));
    }
}
