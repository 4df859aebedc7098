//! `freshness`: up to when records are proven, in words for one key as for many.

use super::{Call, Failure, Reply};
use crate::{
    hub::Proven,
    protocol::{Asked, Code, FreshnessParams, RpcError, codec},
    record::{Key, RecordId},
    service,
    session::outgoing::subscription_number,
};

pub(super) async fn freshness(call: Call<'_>) -> Result<Reply, Failure> {
    let records = match FreshnessParams::parse(call.params)?.asked {
        Asked::Keys(collection, keys) => {
            let limit = call.service().config().keys_max;
            if keys.len() > limit {
                return Err(service::Error::TooLarge { what: "keys of one question", len: keys.len(), limit }.into());
            }
            let records = keys.iter().map(|key| call.service().record(&collection, key));
            records.collect::<Result<Vec<_>, _>>()?
        }
        Asked::Subscription(id) => watched(&call, &id)?,
    };
    let certificates = call.service().certificates();
    let stand: Vec<_> = records.iter().map(|id| (&id.key, certificates.proven_now(id.as_ref()))).collect();
    let (proven, stale) = together(&stand);
    call.charge.take(stale.iter().map(|key| key.as_str().len() + 4).sum())?;
    let mut body = Vec::new();
    let stale: Vec<_> = stale.iter().map(|key| key.as_str()).collect();
    codec::freshness_of(&mut body, proven.is_fresh, proven.age, &stale);
    Ok(body.into())
}

/// The records of a subscription.
fn watched(call: &Call<'_>, id: &str) -> Result<Vec<RecordId>, RpcError> {
    let connection = call.session()?;
    let records = subscription_number(id).and_then(|number| {
        connection.with_outgoing(|outgoing| {
            let slots = outgoing.subscriptions.get(&number)?;
            Some(slots.iter().filter_map(|slot| Some(outgoing.slots.topic(*slot)?.id().clone())).collect())
        })
    });
    records.ok_or_else(|| RpcError::new(Code::InvalidParams, format!("this connection has no subscription {id:?}")))
}

/// How all stand that stand as the one that is proven the least far, and which are not fresh, where others are.
fn together<'a>(stand: &[(&'a Key, Proven)]) -> (Proven, Vec<&'a Key>) {
    let age = stand.iter().map(|(_, proven)| proven.age).max().unwrap_or_default();
    let stale: Vec<_> = stand.iter().filter(|(_, proven)| !proven.is_fresh).map(|(key, _)| *key).collect();
    let proven = Proven { is_fresh: stale.is_empty(), age };
    (proven, if stale.len() == stand.len() { Vec::new() } else { stale })
}
