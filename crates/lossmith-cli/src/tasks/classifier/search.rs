//! `lossmith search classifier`: discover a loss over class probabilities, then judge it on a test part that nothing was chosen on.

use lossmith_search::space::Space;

use super::{Common, Evaluator, Recipe};
use crate::interrupt;
use crate::output::Answer;
use crate::tasks::search::{self, Arena, New, Options};

/// What a found loss is compared with.
const RIVALS: [&str; 3] = ["cross-entropy", "baikal", "baikal-cma"];

/// The arguments of `search classifier`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without any flag: generated digits, a small network, minutes on two cores.\n\
    Example: lossmith search classifier --data mnist --set search.population=80\n\n\
    On many machines: lossmith search classifier --data mnist --study postgres://ada@db.example/losses#mnist\n\
    and anywhere:     lossmith worker --data mnist --study postgres://ada@db.example/losses#mnist")]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    interrupt::listen();
    let resumed = search::resumed(&args.options, "classifier", &args.common.given())?;
    let (recipe, data): (Recipe, _) = match &resumed {
        Some(resumed) => (crate::recipe::parse_text(&resumed.recipe)?, resumed.begun.data.as_deref()),
        None => (args.common.recipe()?, args.common.data.as_deref()),
    };
    recipe.check()?;
    let evaluator = Evaluator::new(&recipe, data)?;
    let arena = Arena {
        task: "classifier".to_owned(),
        judge: &evaluator,
        space: Space::Class { classes: evaluator.classes() },
        rivals: RIVALS.map(str::to_owned).to_vec(),
        metric: "accuracy",
        sections: recipe.sections(),
        conditions: serde_json::to_string(&(&recipe.data, &recipe.train))?,
    };
    let new = New { out: args.common.out.as_deref(), data: args.common.data.as_deref() };
    search::run(&arena, &args.options, resumed, new, args.common.json)
}
