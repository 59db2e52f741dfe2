//! Where a study is: `postgres://user:password@host:port/database#name`. The password never leaves this file but to the server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

/// The study's name where the address has none.
const DEFAULT_NAME: &str = "default";

/// The address of a study on PostgreSQL. Its text form has `***` for the password.
#[derive(Clone)]
pub struct Address {
    config: postgres::Config,
    shown: String,
    name: Option<String>,
}

impl Address {
    /// The name of the study in its database.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }

    /// Whether the address names its study.
    pub fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// Opens a connection. Silence is noticed within seconds, so that a cut line is no hang.
    pub fn connect(&self) -> Result<postgres::Client, postgres::Error> {
        let mut config = self.config.clone();
        config
            .application_name("lossmith")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(10));
        config.connect(postgres::NoTls)
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (url, name) = text.split_once('#').map_or((text, None), |(url, name)| (url, Some(name)));
        let shown = redact(url);
        // A path is no secret, and one that is there is no password.
        if std::path::Path::new(text).exists() {
            bail!(
                "{text} is a file or folder, and no study address: expected postgres://user:password@host/database#study"
            );
        }
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            bail!("'{shown}' is no study address: expected postgres://user:password@host/database#study");
        }
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if name.is_some_and(|name| name.is_empty() || name.len() > 100 || !name.chars().all(plain)) {
            bail!("'{shown}': the study's name after # must be 1 to 100 letters, digits, '-', '_' or '.'");
        }
        // The parser's message may quote the text, password and all.
        let mut config = url.parse::<postgres::Config>().ok().with_context(|| {
            format!("'{shown}' is no PostgreSQL address: expected postgres://user:password@host/database#study")
        })?;
        if config.get_ssl_mode() == postgres::config::SslMode::Require {
            bail!(
                "'{shown}': this program does not speak TLS; use a private network or an SSH tunnel and drop sslmode"
            );
        }
        // As PostgreSQL's own programs do: a password in the environment is in no list of processes.
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        let shown = format!("{shown}#{}", name.unwrap_or(DEFAULT_NAME));
        Ok(Self { config, shown, name: name.map(str::to_owned) })
    }
}

/// A command line with the passwords of its addresses replaced.
pub fn without_passwords(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let shown = |argument: String| {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (format!("{flag}="), value.to_owned()),
            _ => (String::new(), argument),
        };
        match value.split_once('#') {
            _ if !value.contains("://") => format!("{flag}{value}"),
            Some((url, name)) => format!("{flag}{}#{name}", redact(url)),
            None => format!("{flag}{}", redact(&value)),
        }
    };
    arguments.map(shown).collect()
}

/// The address with its password replaced.
fn redact(url: &str) -> String {
    let (head, query) = url.split_once('?').unwrap_or((url, ""));
    let head = match head.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((login, place)) => match login.split_once(':') {
                Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
                None => head.to_owned(),
            },
            None => head.to_owned(),
        },
        // Not an address at all: it may be anything, a password too.
        None => return "***".to_owned(),
    };
    let secret = |pair: &str| pair.split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case("password"));
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !secret(pair)).collect();
    if kept.is_empty() { head } else { format!("{head}?{}", kept.join("&")) }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for text in [
            "postgres://ada:hunter2@db.example/loss#mnist",
            "postgres://ada:hunter2@db.example/loss?password=hunter2&connect_timeout=3",
            "postgres://ada:hunt@hunter2@db.example/loss",
            "postgres://ada@db.example/loss?PASSWORD=hunter2",
            "postgres://ada:hunter2@db.example/loss?nonsense=1",
            "postgres://ada:hunter2@db.example/loss?sslmode=require",
            "postgres://ada:hunter2@db.example:notaport/loss",
            "postgres://ada:hunter2@db.example/loss#bad name",
            "host=db.example password=hunter2",
            "ada:hunter2",
        ] {
            let shown = match text.parse::<Address>() {
                Ok(address) => format!("{address} {address:?}"),
                Err(e) => format!("{e:#} {e:?}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let line =
            ["search", "--study=postgres://ada:hunter2@db/loss#m", "postgres://ada:hunter2@db/loss", "--out", "a/b"];
        let shown = without_passwords(line.map(str::to_owned).into_iter());
        let expected = ["search", "--study=postgres://ada:***@db/loss#m", "postgres://ada:***@db/loss", "--out", "a/b"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_path_is_named() {
        let error = "src".parse::<Address>().unwrap_err().to_string();
        assert!(error.starts_with("src is a file or folder, and no study address: expected postgres://"), "{error}");
    }

    #[test]
    fn the_name_stands_behind_the_address() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(address("postgres://ada:x@db/loss#mnist-1").name(), "mnist-1");
        assert_eq!(address("postgres://ada:x@db/loss#mnist-1").to_string(), "postgres://ada:***@db/loss#mnist-1");
        assert_eq!(address("postgresql://db/loss").name(), "default");
        assert!("mysql://db/loss".parse::<Address>().is_err());
    }
}
