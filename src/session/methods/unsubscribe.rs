//! `unsubscribe`: ends a subscription.

use super::{Call, Failure, Reply};
use crate::{protocol::UnsubscribeParams, session::outgoing::subscription_number};

pub(super) async fn run(call: Call<'_>) -> Result<Reply, Failure> {
    let params = UnsubscribeParams::parse(call.params)?;
    let connection = call.session()?;
    let slots = subscription_number(&params.id)
        .and_then(|number| connection.with_outgoing(|outgoing| outgoing.subscriptions.remove(&number)));
    let Some(slots) = slots else { return Ok(b"false".to_vec().into()) };
    for slot in slots {
        // The hub's lock is never taken under the connection's.
        if let Some((topic, place)) = connection.with_outgoing(|outgoing| outgoing.slots.remove(slot)) {
            call.service().hub().unwatch(&topic, place);
        }
    }
    Ok(b"true".to_vec().into())
}
