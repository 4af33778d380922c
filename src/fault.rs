//! Fault injection: panics and stalls on request, so that tests can check how the program reacts.
//!
//! Only builds with debug assertions have it. `BINRELAY_FAULT` names the stage that panics:
//!
//! | value | the stage panics |
//! |---|---|
//! | `receiver` | before it connects to its source |
//! | `log_thread` | before it waits for the next batch |
//! | `log_sync` | before it waits for the next group to sync |
//! | `accept_loop` | when a client connects to the listener |
//! | `admin_loop` | when a client connects to the admin socket |
//! | `http_loop` | when a client connects to the HTTP listener |
//! | `session` | before it greets its client |
//!
//! and with `shutdown` a stage does not end when the relay is to stop.

/// Panics if `BINRELAY_FAULT` names `stage`. Release builds do nothing here.
pub fn inject(stage: &str) {
    if is_requested(stage) {
        #[allow(clippy::panic, reason = "the purpose of this module")]
        {
            panic!("injected fault in {stage}");
        }
    }
}

/// Never returns if `BINRELAY_FAULT` names `stage`. Release builds return at once.
pub async fn stall(stage: &str) {
    if is_requested(stage) {
        std::future::pending().await
    }
}

#[cfg(debug_assertions)]
fn is_requested(stage: &str) -> bool {
    use std::sync::LazyLock;
    static REQUESTED: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("BINRELAY_FAULT").ok());
    REQUESTED.as_deref() == Some(stage)
}

#[cfg(not(debug_assertions))]
fn is_requested(_stage: &str) -> bool {
    false
}
