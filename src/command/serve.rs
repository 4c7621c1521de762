//! `weir serve`: binds the listeners, starts the workers, handles signals and configuration reloads, and shuts down
//! gracefully.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Interval;

use super::{fixed, records, service_manager, started};
use crate::admin;
use crate::app::{App, Loaded};
use crate::config::{self, Config, Overrides};
use crate::drain::Drain;
use crate::memory::{self, WatchInputs};
use crate::metrics::Metrics;
use crate::server::listener::{self, Bound};
use crate::server::workers::Workers;
use crate::session::resumable;
use crate::session::stored::Counting;
use crate::store::{Store, Watch};
use crate::tasks;
use crate::traces::{MetricsExport, Traces};

/// How long the end of the process waits for the store.
const STORED_WITHIN: Duration = Duration::from_secs(1);
/// How soon the store is asked again for the shared key.
const KEY_AGAIN: Duration = Duration::from_millis(250);
/// How soon it is while the key is not known and no connection is there: streams that begin before are not stored.
const KEY_SOON: Duration = Duration::from_millis(10);
/// How often the configuration file is checked for changes.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// The source of a configuration, kept to read it again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, if one was given.
    pub file: Option<PathBuf>,
    /// Flags and variables.
    pub overrides: Overrides,
}

impl Source {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Returns all problems at once.
    pub fn load(&self) -> Result<Config, config::Problems> {
        match &self.file {
            Some(path) => config::load_file(path, &self.overrides),
            None => config::load(None, &self.overrides),
        }
    }

    /// Like `load`, for a process that is already running.
    fn reload(&self) -> Result<Config, config::Problems> {
        match &self.file {
            Some(path) => config::reload_file(path, &self.overrides),
            None => config::load(None, &self.overrides),
        }
    }
}

/// Runs the proxy until it has drained. Calls `ready` with the address of each listener, the admin listener last.
///
/// # Errors
/// Returns an error if a listener cannot be bound or a part cannot be started; the message names it.
pub fn serve(config: Config, source: Source, ready: impl FnOnce(&[String])) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(config, source, ready))
}

async fn run(config: Config, source: Source, ready: impl FnOnce(&[String])) -> io::Result<()> {
    // Installed before anything is bound, so that an early signal does not kill a half-started process.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let metrics = Arc::new(Metrics::new());
    for warning in config::warnings(&config) {
        match warning.place {
            Some(place) => tracing::warn!(%place, "{warning}"),
            None => tracing::warn!("{warning}"),
        }
    }
    let (bound, admin) = bind(&config)?;
    let traces = Traces::start(&config.traces, &metrics)?;
    let exported = MetricsExport::start(&config.traces, &metrics)?;
    let outbox = records::start(&config.complete, &metrics)?;
    let counting = Arc::new(Counting::new(&metrics));
    let store = store(&config, &metrics, &counting);
    let sockets = Arc::default();
    let app = App::new(
        Loaded::new(config, &metrics, &sockets)?,
        sockets,
        Arc::clone(&metrics),
        traces,
        bound.iter().filter_map(Bound::certificate).collect(),
    );
    let app = Arc::new(app.recording_in(outbox).storing_in(store));
    loaded(&metrics);

    let drain = Arc::new(Drain::default());
    let mut addresses: Vec<String> = bound.iter().map(|one| one.address.clone()).collect();
    let urls: Vec<String> = bound.iter().map(started::url_of).collect();
    let workers = Workers::start(&app, bound)?;
    let admin_address = admin.as_ref().map(|(_, address)| &**address);
    started::announce(&app.loaded().config, &urls, admin_address);
    for address in &addresses {
        tracing::info!(address, listener = "traffic", "listening");
    }
    if let Some((listener, address)) = admin {
        tracing::info!(address, listener = "admin", "listening");
        addresses.push(address);
        let admin = admin::Service::new(Arc::clone(&app), Arc::clone(&drain));
        let listener = Arc::new(listener);
        tasks::keep_running("the admin listener", &metrics.worker_restarts, move || {
            admin::serve(admin.clone(), Arc::clone(&listener))
        });
    }
    let in_force = Arc::clone(&app);
    tasks::keep_running("the watch on memory", &metrics.worker_restarts, move || {
        let app = Arc::clone(&in_force);
        let inputs = WatchInputs {
            memory: Arc::clone(&app.memory),
            metrics: Arc::clone(&app.metrics),
            streams: Arc::clone(&app.streams),
            resumables: Arc::clone(&app.resumables),
            requests: Arc::clone(&app.requests),
        };
        memory::watch(inputs, move || app.loaded().config.limits.memory)
    });
    let in_force = Arc::clone(&app);
    tasks::keep_running(
        "the care of journals",
        &metrics.worker_restarts,
        move || {
            resumable::keep_tidy(
                Arc::clone(&in_force.resumables),
                Arc::clone(&in_force.metrics),
            )
        },
    );
    if let Some(store) = &app.store {
        let (store, in_force) = (Arc::clone(store), Arc::clone(&app));
        tasks::keep_running("the shared key", &metrics.worker_restarts, move || {
            share_key(
                Arc::clone(&store),
                Arc::clone(&in_force),
                Arc::clone(&counting),
            )
        });
    }
    ready(&addresses);
    tell_service_manager(&app, &drain, &addresses);

    let mut stamp = stamp(source.file.as_deref());
    let mut watch = tokio::time::interval(WATCH_EVERY);
    let draining = drain.run(&app);
    tokio::pin!(draining);
    let (ended, limit_at) = loop {
        tokio::select! {
            ended = &mut draining => break ended,
            _ = terminate.recv() => drain.begin_or_hurry(),
            _ = interrupt.recv() => drain.begin_or_hurry(),
            asked = again(&mut hangup, &mut watch) => {
                let now = self::stamp(source.file.as_deref());
                // A missing file is not a change: it is probably being replaced.
                if asked || (now.is_some() && now != stamp) {
                    stamp = now;
                    reload_and_tell(&app, &source);
                }
            }
        }
    };
    tracing::info!(ended, "drained");
    if let Some(store) = &app.store {
        // How streams have ended is stored by the workers.
        store.settled(STORED_WITHIN).await;
    }
    workers.stop().await;
    if let Some(outbox) = &app.outbox {
        records::drain(outbox, limit_at).await;
    }
    let last = exported.as_ref().map(MetricsExport::close);
    if let Some(traces) = &app.traces {
        traces.flush();
    }
    if let Some(last) = last {
        last.wait();
    }
    Ok(())
}

type Admin = Option<(admin::Listener, String)>;

/// Binds all listeners. The error names every one that cannot be bound.
fn bind(config: &Config) -> io::Result<(Vec<Bound>, Admin)> {
    let mut refused: Vec<io::Error> = Vec::new();
    let mut bound = Vec::new();
    for listen in &config.listen {
        match listener::bind(listen, config.workers) {
            Ok(one) => bound.push(one),
            Err(error) => refused.push(error),
        }
    }
    let admin = match config.admin.listen.as_ref().map(admin::bind) {
        None => None,
        Some(Ok(admin)) => Some(admin),
        Some(Err(error)) => {
            refused.push(error);
            None
        }
    };
    if refused.is_empty() {
        return Ok((bound, admin));
    }
    let all: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Err(io::Error::other(all.join("; ")))
}

/// Returns the store of journals, if they are not kept in memory alone.
fn store(config: &Config, metrics: &Arc<Metrics>, counting: &Arc<Counting>) -> Option<Arc<Store>> {
    let config::Store::Redis(settings) = &config.journals.store else {
        return None;
    };
    metrics.resume.store_up(false);
    let watch = Arc::clone(counting) as Arc<dyn Watch>;
    Store::start(settings, config.workers.max(1), watch)
}

/// Gets the key of the digests of credentials that all instances share, as soon as the store answers, and sees that it
/// stays there: a store may come back empty.
async fn share_key(store: Arc<Store>, app: Arc<App>, counting: Arc<Counting>) {
    let mut known = app.resumables.shared_key();
    loop {
        let asked = match known {
            None => store.shared_key().await,
            Some(own) => store.keep_shared_key(own).await,
        };
        if let Ok(key) = asked
            && known != Some(key)
        {
            app.resumables.share_key(key);
            known = Some(key);
            counting.has_key();
        }
        let is_early = known.is_none() && !store.is_up();
        tokio::time::sleep(if is_early { KEY_SOON } else { KEY_AGAIN }).await;
    }
}

/// Waits until the file should be checked. Returns true if a reload was requested by SIGHUP.
async fn again(hangup: &mut Signal, watch: &mut Interval) -> bool {
    tokio::select! {
        _ = hangup.recv() => true,
        _ = watch.tick() => false,
    }
}

/// Returns the modification time and size of the file. Symbolic links are followed, so the swap of a ConfigMap is
/// noticed.
fn stamp(path: Option<&Path>) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(path?).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// Tells the service manager that Weir serves, later that it drains, and meanwhile that its workers are alive.
fn tell_service_manager(app: &Arc<App>, drain: &Arc<Drain>, addresses: &[String]) {
    let traffic = app.loaded().config.listen.len();
    service_manager::ready(addresses.get(..traffic).unwrap_or(addresses));
    let (draining, begins) = (Arc::clone(app), Arc::clone(drain));
    tasks::spawn(async move {
        begins.has_begun().await;
        service_manager::stopping(draining.streams.len());
    });
    if let Some(period) = service_manager::watchdog() {
        let alive = Arc::clone(app);
        let restarts = &app.metrics.worker_restarts;
        tasks::keep_running("the watchdog", restarts, move || {
            service_manager::beat(Arc::clone(&alive), period)
        });
    }
}

fn reload_and_tell(app: &App, source: &Source) {
    if app.draining.load(Ordering::Relaxed) {
        // The service manager knows that it stops, and nothing else counts any more.
        reload(app, source);
        return;
    }
    service_manager::reloading();
    service_manager::reloaded(reload(app, source));
}

/// Loads the file and replaces the running configuration. If the file is not valid, logs the problems and changes
/// nothing. Returns what has become of it, in a few words.
fn reload(app: &App, source: &Source) -> &'static str {
    // A file must not end the process, whatever it makes of its reader.
    let read = tasks::contained(|| {
        tasks::rehearse_defect(|| "reload".to_owned());
        source.reload().map_err(|problems| problems.to_string())
    });
    let built = read
        .unwrap_or_else(|_| Err("the file could not be read: a defect in Weir".to_owned()))
        .and_then(|config| {
            let (config, differ) = fixed::keep(&app.loaded().config, config);
            for key in differ {
                tracing::warn!(key, "a change of this key needs a restart");
            }
            Loaded::new(config, &app.metrics, &app.sockets).map_err(|error| error.to_string())
        });
    match built {
        Ok(new) => {
            app.replace(new);
            app.metrics.reloads_ok.inc();
            loaded(&app.metrics);
            tracing::info!("configuration reloaded");
            "serving; the configuration was reloaded"
        }
        Err(problems) => {
            app.metrics.reloads_rejected.inc();
            app.metrics.config_ok.set(0);
            app.reload_rejected(&problems);
            tracing::error!(%problems, "the changed configuration is not valid, the old one stays in force");
            "serving; the changed configuration is not valid, the old one stays in force"
        }
    }
}

fn loaded(metrics: &Metrics) {
    metrics.config_ok.set(1);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    metrics.config_time.set(now.as_secs_f64());
}
