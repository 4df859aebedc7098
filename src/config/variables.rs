//! Environment variables that set keys: `FRESHET__SESSION__BATCH_MAX` sets `batch_max` of `[session]`.

use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Config, Error};

/// What their names begin with.
const PREFIX: &str = "FRESHET__";

/// Those of this process.
pub(super) fn of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with(PREFIX))
}

/// `table` with an environment variable laid over it. Its value is taken as TOML where it is that and the key takes it, else as
/// text: a password may be a number.
pub(super) fn lay_over(table: &Table, name: &str, value: &str) -> Result<(Table, Config), Error> {
    let read = |value: Value| -> Result<Result<(Table, Config), toml::de::Error>, Error> {
        let mut table = table.clone();
        set(&mut table, name, value)?;
        Ok(Config::deserialize(table.clone()).map(|config| (table, config)))
    };
    let text = || Value::String(value.to_owned());
    let parsed = toml::from_str::<Table>(&format!("v = {value}")).ok().and_then(|mut table| table.remove("v"));
    let refused = match read(parsed.unwrap_or_else(text))? {
        Ok(read) => return Ok(read),
        Err(refused) => refused,
    };
    // As text it may be refused as well, and then for less of a reason.
    read(text())?.map_err(|_| Error::Invalid {
        origin: format!("environment variable {name}"),
        message: refused.to_string().trim_end().to_owned(),
    })
}

/// Sets the key that an environment variable names.
fn set(table: &mut Table, name: &str, value: Value) -> Result<(), Error> {
    let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let Some((key, parents)) = path.split_last() else { return Ok(()) };
    let mut table = table;
    for parent in parents {
        let child = table.entry(parent.clone()).or_insert_with(|| Value::Table(Table::new()));
        table = child.as_table_mut().ok_or_else(|| Error::Invalid {
            origin: format!("environment variable {name}"),
            message: format!("\"{parent}\" is no table of keys; lists are set in the file"),
        })?;
    }
    table.insert(key.clone(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn the_environment_wins_over_the_file() {
        let set = [("FRESHET__SESSION__BATCH_MAX", "7"), ("FRESHET__GATEWAY__LISTEN", "127.0.0.1:9")];
        let config = read("[session]\nbatch_max = 5", &set).expect("reads");
        assert_eq!((config.session.batch_max, config.gateway.listen.port()), (7, 9));
    }

    #[test]
    fn a_variable_is_text_where_the_key_takes_text() {
        for text in ["12345", "007", "true", "1.10", "0x1F", "1979-05-27", "[1]", "a b", "it's", "1e400", "inf", ""] {
            let set = ["FRESHET__REDIS__PASSWORD", "FRESHET__REDIS__USER"].map(|name| (name, text));
            let redis = read("[redis]\nurls = [\"redis://h\"]", &set).expect(text).redis.expect("a cache");
            assert_eq!((redis.password.as_deref(), redis.user.as_deref()), (Some(text), Some(text)));
        }
        let quoted = read("[redis]\nurls = [\"redis://h\"]", &[("FRESHET__REDIS__PASSWORD", "'12 345'")]);
        assert_eq!(quoted.expect("TOML").redis.expect("a cache").password.as_deref(), Some("12 345"));
        let error = read("", &[("FRESHET__SESSION__BATCH_MAX", "-1")]).expect_err("below zero");
        assert!(error.contains("FRESHET__SESSION__BATCH_MAX") && error.contains("integer `-1`"), "{error}");
    }
}
