//! The ground truth of a scene: labelled nodes, triplets, and which agent may stand for which node.

use super::CriticError;
use crate::graph::{Corners, Edge};

/// Two boxes are the same object from this overlap on.
const SAME: f64 = 0.5;

/// Labelled nodes, the relations between them, and which agent may stand for which node.
#[derive(Clone, Debug)]
pub struct Truth {
    labels: Vec<usize>,
    triplets: Vec<[usize; 3]>,
    /// For each agent, the nodes that it may stand for.
    matches: Vec<Vec<usize>>,
    /// For each node, the triplets of which it is the subject: object, predicate, index of the triplet.
    by_subject: Vec<Vec<(usize, usize, usize)>>,
    /// For each agent, the labels with which it may be part of a triplet, ascending.
    useful: Vec<Vec<usize>>,
}

impl Truth {
    /// Ground truth whose nodes are the agents: agent `i` stands for node `i` alone.
    ///
    /// A triplet is `[subject, object, predicate]`, by node. A triplet given twice counts twice, as the protocols do.
    ///
    /// # Errors
    /// A triplet that names a missing node, a background node, twice the same node, or predicate 0.
    pub fn new(labels: Vec<usize>, triplets: Vec<[usize; 3]>) -> Result<Self, CriticError> {
        for (at, &[subject, object, predicate]) in triplets.iter().enumerate() {
            let wrong = |what: String| Err(CriticError::new("truth_triplets", format!("row {at}: {what}")));
            if let Some(node) = [subject, object].into_iter().find(|&node| node >= labels.len()) {
                return wrong(format!("names node {node}, but there are only {} nodes", labels.len()));
            }
            if let Some(node) = [subject, object].into_iter().find(|&node| labels[node] == 0) {
                return wrong(format!("names node {node}, whose label is 0 (background)"));
            }
            if subject == object {
                return wrong(format!("relates node {subject} to itself"));
            }
            if predicate == 0 {
                return wrong("has predicate 0 (none); predicates count from 1".to_owned());
            }
        }
        let mut by_subject = vec![Vec::new(); labels.len()];
        for (at, &[subject, object, predicate]) in triplets.iter().enumerate() {
            by_subject[subject].push((object, predicate, at));
        }
        let own = (0..labels.len()).map(|node| vec![node]).collect();
        Self { labels, triplets, matches: Vec::new(), by_subject, useful: Vec::new() }.with_matches(own)
    }

    /// The same truth where agent `i` may stand for the nodes `matches[i]`.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn with_matches(mut self, matches: Vec<Vec<usize>>) -> Result<Self, CriticError> {
        for (agent, nodes) in matches.iter().enumerate() {
            if let Some(node) = nodes.iter().find(|&&node| node >= self.labels.len()) {
                let message = format!("agent {agent} is matched to node {node}, but there are {}", self.labels.len());
                return Err(CriticError::new("matches", message));
            }
        }
        let mut related = vec![false; self.labels.len()];
        for &[subject, object, _] in &self.triplets {
            (related[subject], related[object]) = (true, true);
        }
        self.useful = matches.iter().map(|nodes| self.labels_of(nodes, &related)).collect();
        self.matches = matches;
        Ok(self)
    }

    /// The same truth where an agent may stand for every node whose box overlaps its own by at least one half.
    ///
    /// The overlap is that of [`Edge::Inclusive`], as in the Visual Genome protocols.
    ///
    /// # Errors
    /// Another number of node boxes than nodes, or a box whose corners are not finite or not in order.
    pub fn with_boxes(self, agents: &[Corners], nodes: &[Corners]) -> Result<Self, CriticError> {
        if nodes.len() != self.labels.len() {
            let message = format!("expected {} (one per node), found {}", self.labels.len(), nodes.len());
            return Err(CriticError::new("boxes", message));
        }
        for (at, b) in agents.iter().chain(nodes).enumerate() {
            if !(b.iter().all(|v| v.is_finite()) && b[0] <= b[2] && b[1] <= b[3]) {
                let message = format!(
                    "row {}: expected [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2, found {b:?}",
                    at % agents.len().max(1)
                );
                return Err(CriticError::new("boxes", message));
            }
        }
        let same =
            |agent: &Corners| (0..nodes.len()).filter(|&n| Edge::Inclusive.iou(*agent, nodes[n]) >= SAME).collect();
        let matches = agents.iter().map(same).collect();
        self.with_matches(matches)
    }

    fn labels_of(&self, nodes: &[usize], related: &[bool]) -> Vec<usize> {
        let mut labels: Vec<usize> = nodes.iter().filter(|&&n| related[n]).map(|&n| self.labels[n]).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Whether this truth speaks of `agents` agents, `classes` classes and pair rows of `columns` columns.
    pub(super) fn check(&self, agents: usize, classes: usize, columns: usize) -> Result<(), CriticError> {
        if self.matches.len() != agents {
            let message = format!("expected {agents} (one per agent), found {}", self.matches.len());
            return Err(CriticError::new("truth_labels", message));
        }
        if let Some(node) = self.labels.iter().position(|&label| label >= classes) {
            let message = format!("node {node}: expected a class below {classes}, found {}", self.labels[node]);
            return Err(CriticError::new("truth_labels", message));
        }
        if let Some(at) = self.triplets.iter().position(|t| t[2] >= columns) {
            let message = format!("row {at}: expected a predicate below {columns}, found {}", self.triplets[at][2]);
            return Err(CriticError::new("truth_triplets", message));
        }
        Ok(())
    }

    /// The class of each node.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The relations: subject node, object node, predicate.
    pub fn triplets(&self) -> &[[usize; 3]] {
        &self.triplets
    }

    /// The nodes that an agent may stand for.
    pub fn matches(&self, agent: usize) -> &[usize] {
        &self.matches[agent]
    }

    /// Whether an agent with this class can be part of any triplet.
    pub(super) fn is_useful(&self, agent: usize, class: usize) -> bool {
        self.useful[agent].binary_search(&class).is_ok()
    }

    /// Calls `hit` with every triplet that this prediction is right about.
    pub(super) fn hits(
        &self,
        subject: (usize, usize),
        predicate: usize,
        object: (usize, usize),
        mut hit: impl FnMut(usize),
    ) {
        let stands_for = |(agent, class): (usize, usize), node: usize| {
            self.labels[node] == class && self.matches[agent].contains(&node)
        };
        for &node in &self.matches[subject.0] {
            if self.labels[node] != subject.1 {
                continue;
            }
            for &(other, wanted, triplet) in &self.by_subject[node] {
                if wanted == predicate && stands_for(object, other) {
                    hit(triplet);
                }
            }
        }
    }
}
