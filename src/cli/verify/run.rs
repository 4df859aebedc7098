//! A run from its first record to its last.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Args,
    cleanup::{Left, clean_up},
    databases::Databases,
    history::History,
    judge,
    link::Link,
    links::Links,
    load::Load,
    plan::Plan,
    progress::Progress,
    recorder::EVENTS_MAX,
    report::{Figures, Report, Verdict},
    settle, setup, watch,
};
use crate::{
    cli::{Error, figures::rate},
    record::KeyKind,
};

/// The part of --rate below which the load was not what was asked for.
const RATE_REACHED: f64 = 0.8;

/// A run whose arguments were found sound.
pub(super) struct Run<'a> {
    pub(super) args: &'a Args,
    pub(super) plan: Arc<Plan>,
    pub(super) nodes: Vec<String>,
    pub(super) fresh: Duration,
    /// How long a node tries a write.
    pub(super) deadline: Duration,
}

impl Run<'_> {
    /// Creates the records, runs the load, judges what was seen, and deletes the records.
    ///
    /// # Errors
    /// Those of the setup; what was created is deleted then.
    pub(super) async fn carry_out(&self, kind: KeyKind, stop: &CancellationToken) -> Result<(Report, History), Error> {
        let Run { args, plan, nodes, fresh, deadline } = self;
        let progress = Progress::start(args.seconds);
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let links = Arc::new(self.connect(&tasks, &ended).await?);
        let created = setup::create(plan, &links, stop).await;
        let databases = match created {
            Ok(()) => setup::databases(&args.database, args.no_sql, plan, kind).await,
            Err(error) => Err(error),
        };
        let databases = match databases {
            Ok(databases) => databases,
            Err(error) => {
                ended.cancel();
                let left = clean_up(plan, nodes, None, &plan.recorder.finish(Vec::new()), *deadline).await;
                left.told(&args.collection).into_iter().for_each(|left| eprintln!("freshet: {left}"));
                return Err(error);
            }
        };
        let (databases, left_out) = match databases {
            Ok(databases) => (Some(Arc::new(databases)), None),
            Err(why) => (None, Some(format!("writes and reads by SQL ({why})"))),
        };
        let load = Load { rate: args.rate, seconds: args.seconds, seed: args.seed.unwrap_or_else(rand::random) };
        let lasted = load.run(plan, &links, databases.as_ref(), stop, &progress).await;
        progress.phase("waiting until every subscription arrives");
        settle::read_everywhere(plan, &links, *fresh).await;
        let history = settle::settle(plan, &links, databases.as_deref(), args.settle).await;
        let away = links.away();
        ended.cancel();
        progress.phase("cleaning up");
        let claims = judge::judge(&history, *fresh);
        let left = clean_up(plan, nodes, databases.as_deref(), &history, *deadline).await;
        let figures = Figures::of(&history, lasted);
        let left_out = left_out.into_iter().chain(self.shortfall(&figures)).collect();
        Ok((self.report(databases.as_deref(), left_out, claims, (away, left), (load.seed, figures)), history))
    }

    /// What the load fell short of.
    fn shortfall(&self, figures: &Figures) -> Vec<String> {
        let full = self.plan.recorder.full.is_cancelled();
        let is_cut = self.plan.recorder.is_cut.load(Ordering::Relaxed);
        let full = full.then(|| match is_cut {
            true => format!("the verdict: there were more than {EVENTS_MAX} events; lower --rate, --keys or --seconds"),
            false => "the rest of the load: the history was nearly full".to_owned(),
        });
        let (made, asked) = (figures.writes_per_s, self.args.rate);
        let slow = (made < asked * RATE_REACHED).then(|| {
            format!("{} of {} writes a second: the others waited for answers", rate(asked - made), rate(asked))
        });
        full.into_iter().chain(slow).collect()
    }

    async fn connect(&self, tasks: &TaskTracker, ended: &CancellationToken) -> Result<Links, Error> {
        let count = self.args.connections.get() * self.nodes.len();
        let mut links = Vec::with_capacity(count);
        for (place, groups) in watch::groups(self.args.keys, count).into_iter().enumerate() {
            // Neighbours lead to different nodes, and two of them watch each key.
            let node = &self.nodes[place % self.nodes.len()];
            links.push(Link::open(&self.plan, node, groups, tasks, ended).await?);
        }
        Ok(Links::new(links))
    }

    fn report(
        &self,
        databases: Option<&Databases>,
        left_out: Vec<String>,
        claims: Vec<judge::Judgement>,
        (away, left): (Vec<String>, Left),
        (seed, figures): (u32, Figures),
    ) -> Report {
        Report {
            verdict: match self.plan.recorder.is_cut.load(Ordering::Relaxed) {
                true => Verdict::Inconclusive,
                false => Verdict::of(&claims),
            },
            collection: self.plan.collection.clone(),
            nodes: self.nodes.clone(),
            databases: databases
                .iter()
                .flat_map(|databases| &databases.all)
                .map(|database| database.place.clone())
                .collect(),
            seed,
            figures,
            disturbances: self.plan.recorder.disturbances(),
            claims,
            left_out,
            away,
            left,
        }
    }
}
