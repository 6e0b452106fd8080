//! Workers: a thread a core, each with a runtime of its own. A connection stays on the worker that accepted it.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::bridge::eager::Eager;
use crate::config::model::{Dns, ListenerProtocol};
use crate::lifecycle::errand::{Crew, Errands};
use crate::lifecycle::watchdog::Pulse;
use crate::lifecycle::{drain, tasks};
use crate::limits::Permits;
use crate::listen::{self, Listener};
use crate::observe::census::Census;
use crate::observe::metrics::Metrics;
use crate::observe::streams;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::upstream::resolve;

/// Commands that wait for a worker at most. They come from reloads and from the drain; a configuration with many listeners gives
/// one for each of them at once, and a socket that a worker never hears of is one whose clients nobody answers. Only what
/// waits takes memory.
const COMMANDS: usize = 65_536;

/// How long tasks may take to end after the last connection has.
const TAIL: Duration = Duration::from_millis(500);

/// What a worker is told.
pub(super) enum Command {
    /// Accept on this socket.
    Listen {
        socket: std::net::TcpListener,
        protocol: ListenerProtocol,
        websocket_over_h2: bool,
        /// Whether trusted proxies begin each connection with a PROXY header.
        proxy_protocol: bool,
        https_port: u16,
        removed: CancellationToken,
    },
    /// Resolve names by these servers from now on.
    Resolve { dns: Arc<Dns> },
    /// End, in this way.
    Drain(drain::Order),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    /// Tasks that did not end by themselves before the deadline.
    pub(super) cut: usize,
    /// Tasks that live although everything was dropped: a leak.
    pub(super) tasks: usize,
}

/// What the workers have in common.
struct Shared {
    snapshot: Arc<ArcSwap<Snapshot>>,
    permits: Permits,
    metrics: Arc<Metrics>,
    /// The streams that live on this worker in a drain.
    census: Arc<Mutex<Census>>,
}

/// What a worker does between its commands.
struct Chores {
    ticks: Interval,
    errands: Errands,
}

/// All workers.
pub(super) struct Workers {
    all: Vec<Worker>,
    crew: Crew,
}

struct Worker {
    commands: mpsc::Sender<Command>,
    ended: Option<oneshot::Receiver<Left>>,
    left: Left,
    census: Arc<Mutex<Census>>,
    _thread: JoinHandle<()>,
}

impl Workers {
    pub(super) fn start(
        pulses: Vec<Pulse>,
        shared: &Arc<ArcSwap<Snapshot>>,
        permits: &Permits,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let share = || Shared {
            snapshot: shared.clone(),
            permits: permits.clone(),
            metrics: metrics.clone(),
            census: Arc::default(),
        };
        let mut crew = Crew::default();
        let pulses = pulses.into_iter().enumerate();
        let all = pulses
            .map(|(index, pulse)| Worker::start(index, pulse, share(), crew.enlist()))
            .collect::<io::Result<_>>()?;
        Ok(Self { all, crew })
    }

    /// The ways to all of them.
    pub(super) fn crew(&self) -> Crew {
        self.crew.clone()
    }

    /// Gives each worker its own of `parts`, in turns where there are more of them than workers.
    pub(super) fn each<T>(&mut self, parts: Vec<T>, command: impl Fn(T) -> Command) {
        for (worker, part) in self.all.iter().cycle().zip(parts) {
            worker.tell(command(part));
        }
    }

    pub(super) fn resolve_by(&self, dns: &Arc<Dns>) {
        for worker in &self.all {
            worker.tell(Command::Resolve { dns: dns.clone() });
        }
    }

    pub(super) fn drain(&mut self, order: drain::Order) {
        for worker in &self.all {
            worker.tell(Command::Drain(order));
        }
    }

    /// The streams that live on all workers; none before a drain, in which each worker counts its own once a second.
    pub(super) fn census(&self) -> Census {
        let mut all = Census::default();
        for worker in &self.all {
            all.add(&worker.census.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }

    /// Returns when every worker has ended.
    ///
    /// # Cancel safety
    /// A worker that has ended is remembered when it is dropped and called again.
    pub(super) async fn ended(&mut self) -> Left {
        let mut all = Left::default();
        for worker in &mut self.all {
            if let Some(ended) = &mut worker.ended {
                // A worker that panicked has nothing left to say, and its panic was logged.
                worker.left = ended.await.unwrap_or_default();
                worker.ended = None;
            }
            all.cut += worker.left.cut;
            all.tasks += worker.left.tasks;
        }
        all
    }
}

impl Worker {
    fn start(index: usize, pulse: Pulse, shared: Shared, errands: Errands) -> io::Result<Self> {
        let census = shared.census.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, received) = mpsc::channel(COMMANDS);
        let (done, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let local = LocalSet::new();
                let cut = runtime.block_on(local.run_until(async {
                    tokio::select! {
                        cut = work(index, shared, received, errands) => cut,
                        never = pulse.beat() => match never {},
                    }
                }));
                // What is left is dropped here, on its own thread, before anybody is told that it is gone.
                drop(local);
                drop(runtime);
                pulse.end();
                let _ = done.send(Left {
                    cut,
                    tasks: tasks::live(),
                });
            })?;
        Ok(Self {
            commands,
            ended: Some(ended),
            left: Left::default(),
            census,
            _thread: thread,
        })
    }

    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::error!("a worker does not take commands any more");
        }
    }
}

/// A worker's whole life. Returns how many tasks have to be cut.
async fn work(
    index: usize,
    shared: Shared,
    mut commands: mpsc::Receiver<Command>,
    errands: Errands,
) -> usize {
    let Shared {
        snapshot,
        permits,
        metrics,
        census,
    } = shared;
    resolve::ask(&snapshot.load().config.dns.servers);
    let service = Rc::new(Service::new(snapshot.clone()));
    let trigger = drain::Trigger::new();
    let mut eager = Eager::default();
    let mut chores = Chores::new(errands);
    let order = loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = chores.until_tick(&trigger) => {
                service.pools().sweep();
                // Where no request comes, what was in force before is let go all the same.
                drop(service.snapshot());
                tick(&metrics);
                if index == 0 {
                    snapshot.load().bridges().for_each(|bridge| bridge.sweep());
                    eager.follow(snapshot.load().bridges(), &trigger.guard());
                }
                continue;
            }
        };
        match command {
            Some(Command::Listen {
                socket,
                protocol,
                websocket_over_h2,
                proxy_protocol,
                https_port,
                removed,
            }) => {
                let listener = Listener {
                    protocol,
                    websocket_over_h2,
                    proxy_protocol,
                    https_port,
                    service: service.clone(),
                    permits: permits.clone(),
                    removed,
                };
                accept(socket, listener, &trigger);
            }
            Some(Command::Resolve { dns }) => resolve::ask(&dns.servers),
            Some(Command::Drain(order)) => break order,
            // The process has gone without a word: so do we.
            None => break Instant::now().into(),
        }
    };
    drop(eager);
    let end = end(&service, &trigger, order);
    tokio::pin!(end);
    // The first report comes later than this.
    chores.ticks.reset_immediately();
    // What ends in a drain is counted too.
    let left = loop {
        tokio::select! {
            left = &mut end => break left,
            () = chores.until_tick(&trigger) => {
                tick(&metrics);
                *census.lock().unwrap_or_else(PoisonError::into_inner) = Census::take();
            }
        }
    };
    tick(&metrics);
    resolve::close();
    left
}

impl Chores {
    fn new(errands: Errands) -> Self {
        let mut ticks = tokio::time::interval(streams::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, errands }
    }

    /// Returns when a second has passed, and runs whatever errands come until then.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    async fn until_tick(&mut self, trigger: &drain::Trigger) {
        loop {
            tokio::select! {
                _now = self.ticks.tick() => return,
                errand = self.errands.next() => errand.run(&trigger.guard()),
            }
            // An errand may go through all streams, and many may wait: clients have their turn between two of them.
            tokio::task::yield_now().await;
        }
    }
}

/// A second has passed: what was counted in it is added to the metrics of the process.
fn tick(metrics: &Metrics) {
    metrics.fold();
    streams::tick();
}

fn accept(socket: std::net::TcpListener, listener: Listener, trigger: &drain::Trigger) {
    match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => drop(tasks::spawn(listen::run(
            socket,
            Rc::new(listener),
            trigger.guard(),
        ))),
        Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
    }
}

/// Waits until all has ended or the deadline has come.
async fn end(service: &Service, trigger: &drain::Trigger, order: drain::Order) -> usize {
    let deadline = order.deadline();
    trigger.begin(order);
    if tokio::time::timeout_at(deadline, trigger.drained())
        .await
        .is_ok()
    {
        // Nothing is under way: what is kept would keep its task.
        service.pools().clear();
        // Feeds and hyper's own tasks end by themselves once their connections have.
        return tail().await;
    }
    tasks::live()
}

/// Waits for this thread's tasks, a short time only. Returns how many are left.
pub(super) async fn tail() -> usize {
    let tail = Instant::now() + TAIL;
    while tasks::live() > 0 && Instant::now() < tail {
        tokio::time::sleep(TAIL / 50).await;
    }
    tasks::live()
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn other_tasks_have_their_turn_between_two_errands() {
        let mut crew = Crew::default();
        let mut chores = Chores::new(crew.enlist());
        // The first tick comes at once else.
        chores.ticks.reset();
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let done = done.clone();
            move || done.lock().unwrap().push(what)
        };
        let errand = note("errand");
        let mut asked: Vec<_> = (0..3)
            .map(|_errand| {
                let errand = errand.clone();
                Box::pin(crew.ask(move |_number, _guard| errand()))
            })
            .collect();
        for asked in &mut asked {
            assert!(poll!(asked).is_pending());
        }
        let other = note("other");
        let trigger = drain::Trigger::new();
        LocalSet::new()
            .run_until(async {
                let other = tasks::spawn(async move {
                    other();
                    tokio::task::yield_now().await;
                    other();
                });
                tokio::select! {
                    () = chores.until_tick(&trigger) => {}
                    ended = other => ended.unwrap(),
                }
            })
            .await;
        let done = done.lock().unwrap();
        assert!(done[..2].contains(&"other"), "{done:?}");
    }
}
