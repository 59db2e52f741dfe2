//! Passwords that were typed in addresses: what quotes the command line, clap first of all, is printed without them.

use percent_encoding::percent_decode_str;

/// The passwords of a command line.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// What stands where an address has its password: behind a user's name, or in a parameter.
    pub fn of(arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut found = Vec::new();
        for argument in arguments {
            let argument = argument.as_ref();
            found.extend(of_login(argument).into_iter().map(str::to_owned));
            found.extend(of_parameters(argument).map(str::to_owned));
        }
        let decoded: Vec<String> = found.iter().map(|secret| decoded(secret)).collect();
        found.extend(decoded);
        // Shorter ones are no passwords, and would be found in ordinary words.
        found.retain(|secret| secret.len() >= 4);
        Self(found)
    }

    /// Those of this program's command line.
    pub fn of_command_line() -> Self {
        Self::of(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
    }

    /// The text with `***` for each of them; they may overlap.
    pub fn hide(&self, text: &str) -> String {
        let places =
            self.0.iter().flat_map(|secret| text.match_indices(secret).map(|(at, found)| (at, at + found.len())));
        let mut places: Vec<(usize, usize)> = places.collect();
        places.sort_unstable();
        let (mut hidden, mut end) = (String::new(), 0);
        for (from, to) in places {
            if from >= end {
                hidden += &text[end..from];
                hidden += "***";
            }
            end = end.max(to);
        }
        hidden + &text[end..]
    }
}

/// Between the colon behind a user's name and an `@`. A password may hold such signs itself, so all places count at which it may end; in
/// an address without `@` it may have been taken for a port.
fn of_login(text: &str) -> Vec<&str> {
    let login = text.split_once("://").map_or(text, |(_, rest)| rest);
    let Some((_, rest)) = login.split_once(':') else { return Vec::new() };
    let mut found: Vec<&str> = rest.match_indices('@').map(|(at, _)| &rest[..at]).collect();
    if found.is_empty() && text.contains("://") {
        let port = rest.split(['/', '?', '#']).next().unwrap_or_default();
        found.extend((port.parse::<u16>().is_err()).then_some(port));
    }
    // Its end too: a parser that takes a sign within it for the end of the login quotes what follows.
    let end = found.last().and_then(|longest| longest.rsplit(['@', '/', '#', '?']).next());
    found.extend(end);
    found
}

/// The values of parameters that are called a password, however the name is written.
fn of_parameters(text: &str) -> impl Iterator<Item = &str> {
    let pairs = text.split(['?', '&', ' ', ';']);
    let keys = pairs.flat_map(|pair| pair.match_indices('=').map(move |(at, _)| (&pair[..at], &pair[at + 1..])));
    let values = keys.filter_map(|(key, value)| {
        let key = decoded(key).to_ascii_lowercase();
        (key.ends_with("password") || key.ends_with("passwd")).then_some(value)
    });
    // In a recipe an address stands in quotes.
    values.flat_map(|value| {
        [Some(value), value.split(['"', '\'']).next(), value.rsplit('@').next()].into_iter().flatten()
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found_wherever_they_stand() {
        for argument in [
            "postgres://ada:hunter2@db.example/loss#mnist",
            "--study=postgres://ada:hunter2@db.example/loss",
            "postgres://ada:hun@hunter2@db/loss",
            "postgres://ada:/hunter2@db/loss",
            "postgres://ada:hunter2",
            "postgres://ada@db/loss?PassWord=hunter2&x=1",
            "postgres://ada@db/loss?pass%77ord=%68unter2",
            "host=db password=hunter2",
            "--json=postgres://ada@db/loss%3Fpassword=hunter2",
            "ada:hunter2@db",
            "https://ada:hunter2@mirror/mnist",
            "mirrors.mnist=[\"http://ada:hunter2@mirror\"]",
            "mirrors.mnist=[\"http://mirror?password=hunter2\"]",
            "postgres://db/loss?password=x@hunter2",
        ] {
            let said = Secrets::of([argument]).hide(&format!("bad value '{argument}', hunter2"));
            assert!(!said.contains("hunter2"), "{said}");
            assert!(said.ends_with(", ***"), "{said}");
        }
        for plain in ["postgres://ada@db:5432/loss", "@found.loss", "discriminative(norm=l1)", "runs/a:b"] {
            assert_eq!(Secrets::of([plain]).hide(plain), plain);
        }
    }
}
