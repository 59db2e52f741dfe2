//! Where a study is: `postgres://user:password@host:port/database#name`. The password never leaves this file but to the server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use percent_encoding::percent_decode_str;

use crate::secrets::Secrets;

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
        // A path is no secret, and one that is there is no password.
        if std::path::Path::new(text).exists() {
            bail!(
                "{text} is a file or folder, and no study address: expected postgres://user:password@host/database#study"
            );
        }
        let parts = Parts::of(text).ok_or_else(no_address)?;
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if parts.name.is_some_and(|name| name.is_empty() || name.len() > 100 || !name.chars().all(plain)) {
            bail!("the study's name after # must be 1 to 100 letters, digits, '-', '_' or '.'");
        }
        // The parser's message may quote the text, password and all.
        let mut config = parts.url.parse::<postgres::Config>().map_err(|_| no_address())?;
        // A password that broke out of its place would be shown as one of these, here or by the server.
        let names = [config.get_user(), config.get_dbname()].into_iter().flatten();
        if names.into_iter().any(|name| name.contains(['/', '?', '#', '&', '='])) {
            return Err(no_address());
        }
        let shown = parts.shown();
        if config.get_ssl_mode() == postgres::config::SslMode::Require {
            bail!(
                "'{shown}': this program does not speak TLS; use a private network or an SSH tunnel and drop sslmode"
            );
        }
        // As PostgreSQL's own programs do: a password in the environment is in no list of processes.
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        Ok(Self { config, shown, name: parts.name.map(str::to_owned) })
    }
}

/// Nothing of the text is repeated: it may be anything, a password too.
fn no_address() -> anyhow::Error {
    anyhow!(
        "this is no study address (it is not repeated here, because it may hold a password): expected \
         postgres://user:password@host:port/database#study, in user and password %40 for @, %3A for :, %2F for /, %3F for ? and %23 for #"
    )
}

/// The text of an address, taken apart as the library does.
struct Parts<'a> {
    /// Without the study's name.
    url: &'a str,
    /// The user, and whether there is a password behind it.
    login: Option<(&'a str, bool)>,
    /// Hosts and database.
    place: &'a str,
    /// `key=value`
    parameters: Vec<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| text.starts_with(scheme))?.len();
        let place = text[scheme..].find('@').map_or(scheme, |at| scheme + at + 1);
        let (url, name) = match text[place..].find('#') {
            Some(at) => (&text[..place + at], Some(&text[place + at + 1..])),
            None => (text, None),
        };
        let login = (place > scheme).then(|| &text[scheme..place - 1]);
        // What looks like the rest of an address before its `@` may belong behind it, and the other way round.
        if login.is_some_and(|login| login.contains(['/', '?', '#'])) {
            return None;
        }
        let login = login.map(|login| login.split_once(':').map_or((login, false), |(user, _)| (user, true)));
        let (place, query) = url[place..].split_once('?').unwrap_or((&url[place..], ""));
        let parameters = query.split('&').filter(|pair| !pair.is_empty()).collect();
        // What has an `@` here may be the rest of a password.
        (!place.contains('@')).then_some(Self { url, login, place, parameters, name })
    }

    /// With `***` for the password.
    fn shown(&self) -> String {
        let login =
            self.login.map_or_else(
                String::new,
                |(user, password)| {
                    if password { format!("{user}:***@") } else { format!("{user}@") }
                },
            );
        let shown = |pair: &&str| match pair.split_once('=').map(|(key, _)| decoded(key)) {
            // The library takes no other spelling of it.
            Some(key) if key == "password" => "password=***".to_owned(),
            _ => (*pair).to_owned(),
        };
        let parameters: Vec<String> = self.parameters.iter().map(shown).collect();
        let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
        format!("postgres://{login}{}{query}#{}", self.place, self.name.unwrap_or(DEFAULT_NAME))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// An address as it was typed. It is read after the rest of the command line, because clap quotes whatever it refuses.
#[derive(Clone)]
pub struct Typed(String);

impl Typed {
    /// Reads it; `flag` is what the error begins with.
    pub fn address(&self, flag: &str) -> anyhow::Result<Address> {
        self.0.parse().with_context(|| flag.to_owned())
    }
}

impl From<String> for Typed {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A command line with the passwords of its addresses replaced.
pub fn without_passwords(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let shown = |argument: String| {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (format!("{flag}="), value),
            _ => (String::new(), argument.as_str()),
        };
        match value.parse::<Address>() {
            // The name that is added where there is none was not typed.
            Ok(address) if address.has_name() => format!("{flag}{address}"),
            Ok(address) => format!("{flag}{}", address.shown.trim_end_matches(&format!("#{DEFAULT_NAME}"))),
            Err(_) => Secrets::of([&argument]).hide(&argument),
        }
    };
    arguments.map(shown).collect()
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
            "postgres://ada@db.example/loss?pass%77ord=hunter2",
            "postgres://ada@db.example/loss?%70%61ssword=hunter2&connect_timeout=3",
            "postgres://ada:hunter2@@db.example/loss",
            "postgres://ada:/hunter2@db.example/loss",
            "postgres://ada:#hunter2@db.example/loss#mnist",
            "postgres://ada:?hunter2@db.example/loss",
            "postgres://ada:hunter2",
            "postgres://ada:hunter2/loss",
            "postgres://db.example/loss?password=x@hunter2",
            "postgres://db.example/loss%3Fpassword=hunter2",
            "postgres://db.example/loss#password=hunter2",
            "postgres:/ada:hunter2@db.example/loss",
            "postgres//ada:hunter2@db.example/loss",
            "POSTGRES://ada:hunter2@db.example/loss",
            " postgres://ada:hunter2@db.example/loss",
            "postgres://ada:hunter2@[::1/loss",
            "postgres://ada:hunter2@db.example/loss?password",
            "postgres://ada:hunter2@db.example:5432:1/loss",
            "postgres://ada:%68unter2@db.example/%ff",
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
