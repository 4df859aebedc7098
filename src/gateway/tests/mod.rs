//! The edge over real sockets, on the memory store.

mod edge;
mod events;
mod hosts;
mod operations;
mod records;
mod upgrade;

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Config, Gateway, Page, Readiness, Shop};
use crate::{
    changes::{Counters, Follower, Relay},
    hub::Hub,
    record::DatabaseId,
    service::{self, Service},
    session::{self, Sessions},
    store::{Memory, Store, memory::Schema},
    telemetry::Telemetry,
    tiers::{self, Tiers},
};

const SCHEMA: &str = r#"
    name = "products"
    key = "sku"
    columns = [
        { name = "sku", type = "text" },
        { name = "name", type = "text", default = '"unnamed"' },
        { name = "stock", type = "int4", min = 0, default = "0" },
    ]
"#;

/// A node with an edge on two ports of its own.
struct Node {
    public: SocketAddr,
    operations: SocketAddr,
    service: Service,
    readiness: Readiness,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    http: reqwest::Client,
}

impl Node {
    async fn start() -> Self {
        Self::with(Config::default(), session::Config::default(), None).await
    }

    async fn with(config: Config, limits: session::Config, page: Option<Page>) -> Self {
        let schema: Schema = toml::from_str(SCHEMA).expect("a schema");
        let store = Store::Memory(Arc::new(Memory::new(vec![schema], 64).expect("schemas")));
        let (telemetry, stop) = (Telemetry::new(), CancellationToken::new());
        let tiers = Tiers::new(&tiers::Config::default(), store.clone(), None, &telemetry);
        let hub = Hub::new(&telemetry);
        let counters = Counters::new(&telemetry);
        tokio::spawn(Relay::new(DatabaseId(0), store.clone(), tiers.clone(), &counters).run(stop.clone()));
        tokio::spawn(
            Follower::new(DatabaseId(0), store.clone(), tiers.clone(), hub.clone(), &counters).run(stop.clone()),
        );
        tokio::spawn(hub.clone().run(stop.clone()));
        let service = Service::new(service::Config::default(), store.clone(), tiers, hub, &telemetry);
        let sessions = Sessions::new(limits, service.clone(), &telemetry);
        let readiness = Readiness::new(service.clone(), store, telemetry.clone());
        let gateway = Gateway::new(config, sessions, telemetry, readiness.clone(), page);
        let (public, operations) = (listener().await, listener().await);
        let addresses = [&public, &operations].map(|listener| listener.local_addr().expect("bound"));
        let (edge, until) = (gateway.clone(), stop.clone());
        let serving = tokio::spawn(async move { edge.serve_public(public, until).await });
        let until = stop.clone();
        tokio::spawn(async move { gateway.serve_operations(operations, until).await });
        while service.tiers().freshness().verdict() != tiers::freshness::Verdict::Fresh {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Node { public: addresses[0], operations: addresses[1], service, readiness, stop, serving, http }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    async fn put(&self, key: &str, value: &str) -> String {
        let id = self.service.record("products", key).expect("a key");
        self.service.put(id, value, Default::default()).await.expect("committed").stamp.to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
