//! `lossmith losses`: the catalogue, one loss, or the value and gradient of a loss on the user's tensors.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use lossmith::loss::catalogue::ENTRIES;
use lossmith::loss::{Array, Entry, Family, Inputs, Param, ParamKind};
use lossmith_data::tensors::{self, Tensor};
use serde_json::json;

use super::read_loss;
use crate::output::{self, Answer, Table};

/// The arguments of `losses`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The loss to show: formula, gradient, inputs, parameters, reference
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Value, parts and gradient of a loss on your own tensors
    #[command(
        after_help = "Example: lossmith losses eval baikal --input logits.safetensors --output grad.safetensors --json\n\n\
        `lossmith losses NAME` says which tensors a loss reads. A formula reads logits [N,C] f32 and target [N] i64."
    )]
    Eval {
        /// The loss: name, formula or @FILE
        #[arg(allow_hyphen_values = true)]
        loss: String,
        /// A safetensors file with the loss's input tensors
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Where to write the gradient, as tensor `grad`
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match (args.action, args.name) {
        (Some(Action::Eval { loss, input, output, json }), _) => eval(&loss, &input, output.as_deref(), json)?,
        (None, Some(name)) => show(&name, args.json)?,
        (None, None) => list(args.json)?,
    }
    Ok(Answer::Yes)
}

fn list(json: bool) -> anyhow::Result<()> {
    if json {
        return output::print_json(&ENTRIES.iter().map(|e| describe(e)).collect::<Vec<_>>());
    }
    let mut text = String::new();
    let mut family = None;
    for entry in ENTRIES {
        if family != Some(entry.family) {
            family = Some(entry.family);
            text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, family_name(entry.family));
        }
        text += &format!("  {:<24} {}\n", entry.name, entry.summary);
    }
    text += "\n`lossmith losses NAME` shows one; a formula in x, y and n is a loss too, for example \"-(log(y) - x/y)/n\".\n";
    output::print(&text)
}

fn show(name: &str, json: bool) -> anyhow::Result<()> {
    let entry = match Entry::find(name) {
        Some(entry) => entry,
        // The parser knows how to say what is wrong with a name.
        None => match read_loss(name)? {
            lossmith::loss::Spec::Named(arguments) => arguments.entry(),
            lossmith::loss::Spec::Formula(_) => {
                anyhow::bail!(
                    "'{name}' is a formula, not a name; `lossmith losses eval` evaluates it, `lossmith export` writes it"
                )
            }
        },
    };
    if json { output::print_json(&describe(entry)) } else { output::print(&page(entry)) }
}

/// One loss as text.
fn page(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n\n", entry.name, entry.summary);
    let mut say = |head: &str, body: &str| text += &format!("{head:<10} {body}\n");
    say("formula", entry.formula);
    say("gradient", entry.gradient);
    say("space", entry.space);
    say("corners", entry.corners);
    say("reference", entry.reference);
    let mut inputs = Table::new(["input", "type", "shape", "what it is"]);
    for input in entry.inputs {
        let what = if input.optional { format!("{} (optional)", input.doc) } else { input.doc.to_owned() };
        inputs.row([input.name.to_owned(), input.scalar.to_string(), input.shape.to_owned(), what]);
    }
    text += &format!("\n{inputs}");
    if !entry.params.is_empty() {
        text.push('\n');
        for param in entry.params {
            text += &format!("{}={}  {}\n", param.name, default_text(param), param.doc);
        }
    }
    text
}

fn describe(entry: &Entry) -> serde_json::Value {
    let input = |i: &lossmith::loss::InputSpec| json!({"name": i.name, "type": i.scalar.to_string(), "shape": i.shape, "optional": i.optional, "doc": i.doc});
    let param = |p: &Param| json!({"name": p.name, "default": default_text(p), "doc": p.doc});
    json!({
        "name": entry.name,
        "family": family_name(entry.family),
        "summary": entry.summary,
        "formula": entry.formula,
        "gradient": entry.gradient,
        "space": entry.space,
        "corners": entry.corners,
        "reference": entry.reference,
        "inputs": entry.inputs.iter().map(input).collect::<Vec<_>>(),
        "params": entry.params.iter().map(param).collect::<Vec<_>>(),
    })
}

fn default_text(param: &Param) -> String {
    match param.kind {
        ParamKind::Number { default, .. } => default.to_string(),
        ParamKind::Choice { default, .. } | ParamKind::Word { default, .. } => default.to_owned(),
        ParamKind::Kernel { default, .. } => format!("\"{default}\""),
    }
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Pointwise => "pointwise: one target, one prediction",
        Family::Class => "class probabilities, from logits",
        Family::Weights => "weights of a model",
        Family::Clusters => "clusters of embeddings",
        Family::Rays => "rays of an object",
        Family::Groups => "groups of subject-object pairs",
        Family::Agents => "agents with a graph-level reward",
    }
}

fn eval(loss: &str, input: &Path, output: Option<&Path>, json: bool) -> anyhow::Result<()> {
    if let Some(output) = output {
        anyhow::ensure!(!output.exists(), "--output {}: this exists; name another file", output.display());
    }
    let spec = read_loss(loss)?;
    let built = spec.build()?;
    let inputs = read_inputs(input)?;
    let evaluation = spec.check_names(&inputs).and_then(|()| built.evaluate(&inputs));
    let evaluation = evaluation.with_context(|| input.display().to_string())?;
    if let Some(output) = output {
        tensors::write(output, [("grad", &Tensor::F32(evaluation.grad))])?;
    }
    if json {
        if !evaluation.value.is_finite() {
            tracing::warn!("the value is {}, for which JSON has no number: null stands for it", evaluation.value);
        }
        let numbers = evaluation.parts.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        let lists = evaluation.lists.iter().map(|(name, list)| ((*name).to_owned(), json!(list)));
        let parts: serde_json::Map<String, serde_json::Value> = numbers.chain(lists).collect();
        return output::print_json(&json!({"value": evaluation.value, "parts": parts}));
    }
    let mut table = Table::new(["value", &evaluation.value.to_string()]);
    for (name, value) in &evaluation.parts {
        table.row([(*name).to_owned(), value.to_string()]);
    }
    for (name, list) in &evaluation.lists {
        list.iter().enumerate().for_each(|(at, value)| table.row([format!("{name} {at}"), value.to_string()]));
    }
    output::print(&table.to_string())
}

fn read_inputs(file: &Path) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs::new();
    for (name, tensor) in tensors::read(file)? {
        let array = match tensor {
            Tensor::F32(a) => Array::F32(a),
            Tensor::I64(a) => Array::I64(a),
        };
        inputs = inputs.with(&name, array);
    }
    Ok(inputs)
}
