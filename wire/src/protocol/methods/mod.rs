//! The methods of the wire and their parameters, by name or by position.
//!
//! Promises: a parameter that is missing, unknown, of the wrong type or given twice is refused with -32602 and
//! named. An optional one that is `null` counts as left out. Leaves to others whether the collection exists and
//! whether the key is one of its keys.

mod fields;
mod freshness;
mod read;
mod watch;
mod write;

pub use freshness::{Asked, FreshnessParams};
pub use read::{DescribeParams, GetManyParams, GetParams, ListParams};
pub use watch::{SubscribeParams, UnsubscribeParams};
pub use write::{DeleteParams, IDEMPOTENCY_KEY_BYTES_MAX, PatchParams, PutParams, VALUE_DEPTH_MAX};

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// One record.
    Get,
    /// Several records of one collection.
    GetMany,
    /// Records of one collection, in the order of their keys.
    List,
    /// Replace a record.
    Put,
    /// Change part of a record.
    Patch,
    /// Remove a record.
    Delete,
    /// What a collection consists of.
    Describe,
    /// Watch records.
    Subscribe,
    /// Stop watching.
    Unsubscribe,
    /// Up to when records are proven.
    Freshness,
    /// The OpenRPC document.
    Discover,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 11] = [
        Method::Get,
        Method::GetMany,
        Method::List,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Describe,
        Method::Subscribe,
        Method::Unsubscribe,
        Method::Freshness,
        Method::Discover,
    ];

    /// The name on the wire; all but `rpc.discover` are also known with `freshet_` before it.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::GetMany => "get_many",
            Method::List => "list",
            Method::Put => "put",
            Method::Patch => "patch",
            Method::Delete => "delete",
            Method::Describe => "describe",
            Method::Subscribe => "subscribe",
            Method::Unsubscribe => "unsubscribe",
            Method::Freshness => "freshness",
            Method::Discover => "rpc.discover",
        }
    }

    /// The method of that name, with or without `freshet_`.
    pub fn from_name(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("freshet_").filter(|bare| !bare.starts_with("rpc."));
        match bare.unwrap_or(name) {
            "get" => Some(Method::Get),
            "get_many" => Some(Method::GetMany),
            "list" => Some(Method::List),
            "put" => Some(Method::Put),
            "patch" => Some(Method::Patch),
            "delete" => Some(Method::Delete),
            "describe" => Some(Method::Describe),
            "subscribe" => Some(Method::Subscribe),
            "unsubscribe" => Some(Method::Unsubscribe),
            "freshness" => Some(Method::Freshness),
            "rpc.discover" => Some(Method::Discover),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_known_by_both_names() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
            let prefixed = Method::from_name(&format!("freshet_{}", method.name()));
            assert_eq!(prefixed, (method != Method::Discover).then_some(method));
        }
        assert_eq!(Method::from_name("freshet_freshet_get"), None);
    }
}
