//! Clustering around true centres.

use super::{ClusterError, Embeddings, Instances, Points, check_bandwidth, finish};

/// Every foreground pixel within the bandwidth of the mean embedding of a true instance gets its label; where several are
/// near, the last one's, as in the authors' program. Instances of one pixel are dropped. How good clustering can get: for the
/// ablation of the paper's table 3.
///
/// # Errors
/// A bandwidth that is no positive number, true labels of another size.
pub fn centre_threshold(embeddings: Embeddings<'_>, truth: &[u32], bandwidth: f32) -> Result<Instances, ClusterError> {
    check_bandwidth(bandwidth)?;
    let (height, width) = (embeddings.height, embeddings.width);
    if truth.len() != embeddings.pixels() {
        let expected = embeddings.pixels();
        return Err(ClusterError::Size { what: "true labels", expected, found: truth.len(), height, width });
    }
    let mut ids: Vec<u32> = truth.iter().copied().filter(|t| *t > 0).collect();
    ids.sort_unstable();
    ids.dedup();
    let members: Vec<u32> = (0..truth.len() as u32).filter(|i| truth[*i as usize] > 0).collect();
    let groups: Vec<Option<u32>> =
        members.iter().map(|i| ids.binary_search(&truth[*i as usize]).ok().map(|at| at as u32)).collect();
    let mut centres = vec![0f32; ids.len() * embeddings.channels];
    Points::gather(embeddings, &members).group_means(&groups, &mut centres);

    let pixels = embeddings.foreground_pixels();
    let points = Points::gather(embeddings, &pixels);
    let mut labels = vec![0; truth.len()];
    for (label, centre) in (1..).zip(centres.chunks_exact(embeddings.channels)) {
        for (pixel, _) in pixels.iter().zip(points.within(centre, bandwidth)).filter(|(_, within)| *within) {
            labels[*pixel as usize] = label;
        }
    }
    Ok(finish(embeddings, labels, 2))
}
