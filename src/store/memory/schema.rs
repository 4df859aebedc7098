//! What a collection of the memory store looks like, as its author writes it down.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::datatype::DataType;

/// A collection: what `CREATE TABLE` says for PostgreSQL.
///
/// ```toml
/// name = "products"
/// key = "sku"
/// columns = [
///     { name = "sku", type = "text" },
///     { name = "price", type = "int8", min = 0, constraint = "products_price_not_negative" },
///     { name = "currency", type = "text", default = '"GBP"' },
///     { name = "attributes", type = "json", default = "{}" },
/// ]
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The collection's name on the wire.
    pub name: String,
    /// The column that holds the key: `text`, `uuid` or an integer type.
    pub key: String,
    /// The columns, in the order in which a value shows them.
    pub columns: Vec<ColumnSchema>,
}

/// One column of a [`Schema`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSchema {
    /// The member's name in the value.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Whether it may be `null`.
    #[serde(default)]
    pub nullable: bool,
    /// What a `put` that leaves the column out sets it to, as JSON text; without one it is `null`.
    #[serde(default)]
    pub default: Option<String>,
    /// The least value it may have; for number types only.
    #[serde(default)]
    pub min: Option<i64>,
    /// What the rule of `min` is called in errors; `<collection>_<column>_check` unless given.
    #[serde(default)]
    pub constraint: Option<String>,
}

/// Why a set of schemas cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// There must be at least one logical shard.
    #[error("the number of logical shards must not be 0")]
    NoShards,
    /// A collection's or column's name is empty.
    #[error("collection \"{collection}\" has an empty name in it")]
    EmptyName {
        /// The collection.
        collection: String,
    },
    /// Two collections have one name.
    #[error("collection \"{collection}\" is described twice")]
    DuplicateCollection {
        /// The collection.
        collection: String,
    },
    /// Two columns have one name.
    #[error("collection \"{collection}\" has two columns \"{column}\"")]
    DuplicateColumn {
        /// The collection.
        collection: String,
        /// The column.
        column: String,
    },
    /// `key` names no column.
    #[error("collection \"{collection}\" has no column \"{key}\" to be its key")]
    UnknownKey {
        /// The collection.
        collection: String,
        /// What `key` says.
        key: String,
    },
    /// The key column cannot be a key.
    #[error("collection \"{collection}\": key \"{key}\" {reason}")]
    BadKey {
        /// The collection.
        collection: String,
        /// The key column.
        key: String,
        /// What it should be.
        reason: &'static str,
    },
    /// A default that its column cannot hold.
    #[error("collection \"{collection}\": the default of \"{column}\": {message}")]
    BadDefault {
        /// The collection.
        collection: String,
        /// The column.
        column: String,
        /// What the type said.
        message: String,
    },
    /// `min` on a column that holds no numbers, or `constraint` without `min`.
    #[error("collection \"{collection}\": column \"{column}\" {reason}")]
    BadConstraint {
        /// The collection.
        collection: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Checks what no single schema can say: that there are shards, and that names are given once.
///
/// # Errors
/// [`SchemaError`], naming the first fault.
pub(super) fn check_set(schemas: &[Schema], modulus: u32) -> Result<(), SchemaError> {
    if modulus == 0 {
        return Err(SchemaError::NoShards);
    }
    let mut names = HashSet::new();
    match schemas.iter().find(|schema| !names.insert(schema.name.as_str())) {
        Some(schema) => Err(SchemaError::DuplicateCollection { collection: schema.name.clone() }),
        None => schemas.iter().try_for_each(Schema::check),
    }
}

impl Schema {
    /// Checks everything but the defaults, which are checked where they are printed.
    fn check(&self) -> Result<(), SchemaError> {
        let collection = || self.name.clone();
        let mut names = HashSet::new();
        if self.name.is_empty() || self.columns.iter().any(|column| column.name.is_empty()) {
            return Err(SchemaError::EmptyName { collection: collection() });
        }
        if let Some(column) = self.columns.iter().find(|column| !names.insert(column.name.as_str())) {
            return Err(SchemaError::DuplicateColumn { collection: collection(), column: column.name.clone() });
        }
        self.check_key()?;
        self.columns.iter().try_for_each(|column| {
            let reason = match (column.min, &column.constraint) {
                (Some(_), _) if !column.data_type.is_number() => "has a min and holds no numbers",
                (None, Some(_)) => "names a constraint and has no min",
                _ => return Ok(()),
            };
            Err(SchemaError::BadConstraint { collection: collection(), column: column.name.clone(), reason })
        })
    }

    fn check_key(&self) -> Result<(), SchemaError> {
        let (collection, key) = (self.name.clone(), self.key.clone());
        let Some(column) = self.columns.iter().find(|column| column.name == self.key) else {
            return Err(SchemaError::UnknownKey { collection, key });
        };
        let reason = match column {
            _ if column.data_type.key_kind().is_none() => "must be text, uuid, int2, int4 or int8",
            _ if column.nullable => "must not be nullable",
            _ => return Ok(()),
        };
        Err(SchemaError::BadKey { collection, key, reason })
    }
}
