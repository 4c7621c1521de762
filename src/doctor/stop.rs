//! Tells the doctor that the user wants the report now.

use std::future::pending;

use tokio::sync::watch;

/// Whether the user wants the report now.
#[derive(Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Asks the doctor for the report.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// Creates both ends.
pub(crate) fn stopping() -> (Stopper, Stop) {
    let (stopper, stop) = watch::channel(false);
    (Stopper(stopper), Stop(stop))
}

impl Stopper {
    /// Makes the doctor leave what it reads, and report what it has seen.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Reports whether the doctor is to stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the doctor is to stop.
    pub(crate) async fn wait(&self) {
        let mut stop = self.0.clone();
        let is_gone = stop.wait_for(|is_set| *is_set).await.is_err();
        if is_gone {
            // Nobody can ask for the report any more.
            pending::<()>().await;
        }
    }
}
