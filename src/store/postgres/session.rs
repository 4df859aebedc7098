//! One connection for an operator's command, and why there is none.
//!
//! Promise: an attempt ends within a limit, and its error says where it went and what to do. Passwords are in no text.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;
use sqlx::{ConnectOptions as _, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

/// The longest an attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A connection to one database.
pub struct Session {
    pub(super) connection: PgConnection,
}

/// Why a database cannot be worked with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no URL of a PostgreSQL database.
    #[error("read the database url: {message}")]
    Url {
        /// What is wrong with it.
        message: String,
    },
    /// Nothing answers there, or nothing that is ready.
    #[error("connect to {place}: {reason}")]
    Unreachable {
        /// Database and server.
        place: String,
        /// What the system or the server said.
        reason: String,
    },
    /// The server does not let us in.
    #[error("log in to {place} as {user}: {reason}")]
    Denied {
        /// Database and server.
        place: String,
        /// The role that was tried.
        user: String,
        /// What the server said.
        reason: String,
    },
    /// The server is there and the database is not.
    #[error("open {place}: the server has no such database")]
    NoDatabase {
        /// Database and server.
        place: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Url { .. } => "write it as postgres://user:password@host:5432/database",
            Error::Unreachable { .. } => "is the server running, and are host and port right? --database-url names it",
            Error::Denied { .. } => "check user and password of the url, and pg_hba.conf of the server",
            Error::NoDatabase { .. } => "create it first: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        }
    }
}

impl Session {
    /// Connects as "freshet `purpose`", without a limit on statements.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(url: &str, purpose: &str) -> Result<Self, Error> {
        // A migration may well take its time: that is no news for the log.
        let options = options(url)?.application_name(&format!("freshet {purpose}")).disable_statement_logging();
        match timeout(CONNECT_LIMIT, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => Ok(Session { connection }),
            Ok(Err(error)) => Err(refused(&options, &error)),
            Err(_) => Err(Error::Unreachable {
                place: place(&options).to_string(),
                reason: format!("no answer within {} s", CONNECT_LIMIT.as_secs()),
            }),
        }
    }

    /// Says goodbye to the server.
    pub async fn close(self) {
        drop(timeout(CONNECT_LIMIT, self.connection.close()).await);
    }
}

/// Where a URL leads, without its password: `shop on db1:5432`, or `shop on /var/lib/freshet/serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `shop`.
    pub database: String,
    /// `db1:5432`, or the folder of the server's socket.
    pub server: String,
}

impl Place {
    /// # Errors
    /// [`Error::Url`].
    pub fn of(url: &str) -> Result<Self, Error> {
        options(url).map(|options| place(&options))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.database, self.server)
    }
}

/// How `psql` reaches a database, beside a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The server's name or address, or the folder of its socket.
    pub host: String,
    /// Also part of the socket's name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl Login {
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        let folder = options.get_socket().map(|folder| folder.display().to_string());
        Login {
            host: folder.unwrap_or_else(|| options.get_host().to_owned()),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
        }
    }
}

/// The role that `url` logs in with.
///
/// # Errors
/// [`Error::Url`].
pub fn role(url: &str) -> Result<String, Error> {
    options(url).map(|options| options.get_username().to_owned())
}

/// `url` with `***` for each password in it; what is no URL is hidden altogether. A password that is not escaped may have
/// any character, so all between the first colon and the last @ is hidden.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".into() };
    // A parameter may have an @ of its own, and a password what looks like a parameter.
    let is_clear = |at: &usize| {
        let (before, query) = rest.split_at(*at);
        before.contains('@') || !query.contains('@') || query.to_lowercase().contains("password=")
    };
    let (before, query) = match parameters(rest).filter(is_clear) {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, ""),
    };
    let before = match before.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => before.to_owned(),
        },
        None => before.to_owned(),
    };
    format!("{scheme}://{before}{}", without_parameters(query))
}

/// Where the parameters begin, `?name=value&name=value`: a ? of a password has no such thing behind it.
fn parameters(rest: &str) -> Option<usize> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte))
    };
    let begins = |at: &usize| rest[at + 1..].split_once('=').is_some_and(|(name, _)| is_name(name));
    rest.match_indices('?').map(|(at, _)| at).find(begins)
}

/// sqlx also reads a password from the query. A part without `=` may be the rest of a password that holds an `&`.
fn without_parameters(query: &str) -> String {
    let Some(query) = query.strip_prefix('?') else { return String::new() };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}=***"),
        Some(_) => pair.to_owned(),
        None => "***".to_owned(),
    };
    format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
}

/// Whether there is an @ behind what a URL takes for its host: it is one of a password that is not escaped.
fn has_unescaped_login(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let path_end = parameters(rest).unwrap_or(rest.len());
    rest.get(host_end..path_end).is_some_and(|path| path.contains('@'))
}

fn options(url: &str) -> Result<PgConnectOptions, Error> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !is_postgres {
        return Err(Error::Url { message: "it does not begin with postgres://".into() });
    }
    if has_unescaped_login(url) {
        let message = "there is an @ behind the host: in a password, write @ as %40, / as %2F, ? as %3F and # as %23";
        return Err(Error::Url { message: message.into() });
    }
    PgConnectOptions::from_str(url).map_err(|error| Error::Url { message: error.to_string() })
}

fn place(options: &PgConnectOptions) -> Place {
    let server = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    Place { database: options.get_database().unwrap_or(options.get_username()).to_owned(), server }
}

/// # Source
/// PostgreSQL, appendix A: class 28 refuses the login, 3D000 knows no such database, 42501 is a missing CONNECT.
fn refused(options: &PgConnectOptions, error: &sqlx::Error) -> Error {
    let place = place(options).to_string();
    let Some(refusal) = error.as_database_error() else {
        let reason = match error {
            // The number of the system's error says nothing that its text does not.
            sqlx::Error::Io(error) => error.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        return Error::Unreachable { place, reason };
    };
    let (code, reason) = (refusal.code().unwrap_or_default(), refusal.message().to_owned());
    match &*code {
        "3D000" => Error::NoDatabase { place },
        "42501" => Error::Denied { place, user: options.get_username().to_owned(), reason },
        code if code.starts_with("28") => Error::Denied { place, user: options.get_username().to_owned(), reason },
        _ => Error::Unreachable { place, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, expected) in [
            ("postgres://u:p@h:5/d?sslmode=require", "postgres://u:***@h:5/d?sslmode=require"),
            ("postgres://u:p@p:p@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d?password=p&host=%2Ftmp", "postgres://u@h/d?password=***&host=%2Ftmp"),
            ("postgres://h", "postgres://h"),
            ("postgres://u:p q\"@h", "postgres://u:***@h"),
            ("host=h password=p", "***"),
            ("postgres://u:s/e?c#r@e@t@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d?password=s&ecret&host=x", "postgres://u@h/d?password=***&***&host=x"),
            ("postgres://u@h/d?password=s@cret", "postgres://u@h/d?password=***"),
            ("postgres://u:s?e=cret@h/d", "postgres://u:***@h/d"),
            ("postgres://h:5/d?password=s@cret", "postgres://h:5/d?password=***"),
            ("postgres://u@h:5/d?options=a@b", "postgres://u@h:5/d?options=a@b"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    #[test]
    fn a_login_is_what_psql_takes() {
        let login = |url: &str| Login::of(&options(url).expect("a url"));
        let [host, user, database] = ["db1", "shop", "sales"].map(str::to_owned);
        assert_eq!(login("postgres://shop:secret@db1:5433/sales"), Login { host, port: 5433, user, database });
        let [host, user] = ["/srv/demo", "postgres"].map(str::to_owned);
        let on_socket = login("postgres://postgres@localhost?host=%2Fsrv%2Fdemo");
        assert_eq!(on_socket, Login { host, port: 5432, database: user.clone(), user });
    }

    #[test]
    fn a_password_that_is_not_escaped_is_refused_and_no_part_of_it_is_told() {
        for url in [
            "postgres://u:12/secret@h/d",
            "postgres://u:12#secret@h/d",
            "postgres://u:a@12/secret@h/d",
            "postgres://u:12?secret@h/d",
        ] {
            let error = Place::of(url).expect_err(url).to_string();
            assert!(error.contains("%40") && !error.contains("secret") && !error.contains("12"), "{error}");
        }
        Place::of("postgres://u:p@h/d?options=a@b").expect("an @ of a parameter");
    }

    #[test]
    fn a_place_is_database_and_server() {
        assert_eq!(Place::of("postgres://u:p@db1/shop").expect("a url").to_string(), "shop on db1:5432");
        assert_eq!(Place::of("postgres://u@localhost/shop?host=%2Frun").expect("a url").to_string(), "shop on /run");
        for wrong in ["shop", "mysql://h/d", "postgres://h:port/d"] {
            assert!(matches!(Place::of(wrong), Err(Error::Url { .. })), "{wrong}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_named_with_what_to_do() {
        let error = Session::open("postgres://u:secret@127.0.0.1:1/shop", "test").await.err().expect("nobody");
        let text = format!("{error}; {}", error.hint());
        assert!(text.contains("shop on 127.0.0.1:1") && text.contains("is the server running"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
