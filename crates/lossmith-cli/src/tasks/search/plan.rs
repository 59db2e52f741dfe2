//! The plan of a search: discover a loss, then compare it with the known ones on a part that nothing was chosen on.

use lossmith_search::comparison::Comparison;
use lossmith_search::discovery::Discovery;
use lossmith_search::trial::{Outcome, Trial};
use serde::{Deserialize, Serialize};

use super::recipe::Sections;
use crate::study::Plan;

/// A search on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Search {
    pub discovery: Discovery,
    sections: Sections,
    /// What the found loss is compared with; the first is the baseline.
    rivals: Vec<String>,
    pub comparison: Option<Comparison>,
}

impl Search {
    /// A search that begins.
    pub fn new(discovery: Discovery, sections: Sections, rivals: Vec<String>) -> anyhow::Result<Self> {
        let mut search = Self { discovery, sections, rivals, comparison: None };
        search.skip_what_is_known()?;
        Ok(search)
    }

    /// A generation may hold nothing that is not known already.
    fn skip_what_is_known(&mut self) -> anyhow::Result<()> {
        while self.discovery.trials()?.is_empty() && !self.discovery.is_done() {
            self.discovery.tell(&[])?;
        }
        if let Some(found) = self.discovery.found() {
            let mut losses = self.rivals.clone();
            losses.push(found.loss.clone());
            self.comparison = Some(Comparison::new(self.sections.comparison(losses, None)));
        }
        Ok(())
    }

    fn steps_of_comparison(&self) -> u64 {
        let c = &self.sections.compare;
        let losses = self.rivals.len() as u64 + 1;
        let tuned = if c.tune_rate { u64::from(c.seeds) + c.rates.len() as u64 * u64::from(c.rate_seeds) } else { 0 };
        losses * (u64::from(c.seeds) + tuned) * u64::from(self.sections.steps)
    }
}

impl Plan for Search {
    fn stage(&self) -> String {
        match &self.comparison {
            None => format!("{}, best {:.4}", self.discovery.stage(), self.discovery.best()),
            Some(comparison) => comparison.stage().to_owned(),
        }
    }

    fn trials(&self) -> anyhow::Result<Vec<Trial>> {
        match &self.comparison {
            None => Ok(self.discovery.trials()?),
            Some(comparison) => Ok(comparison.trials()),
        }
    }

    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        if let Some(comparison) = &mut self.comparison {
            return Plan::tell(comparison, outcomes);
        }
        self.discovery.tell(outcomes)?;
        self.skip_what_is_known()
    }

    fn steps_to_come(&self) -> u64 {
        match &self.comparison {
            None => self.discovery.steps_to_come() + self.steps_of_comparison(),
            Some(comparison) => {
                let now: u64 = comparison.trials().iter().map(|t| u64::from(t.steps)).sum();
                let done = comparison.same_rate.iter().chain(&comparison.own_rate).map(Vec::len).sum::<usize>() as u64;
                self.steps_of_comparison().saturating_sub(now + done * u64::from(self.sections.steps))
            }
        }
    }
}
