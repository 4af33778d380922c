//! Fault injection: panics on request, so that tests can check how the program reacts.
//!
//! Only builds with debug assertions have it. `BINRELAY_FAULT` names the stage that panics:
//!
//! | value | the stage panics |
//! |---|---|
//! | `receiver` | before it connects to its source |
//! | `log_thread` | before it waits for the next batch |
//! | `accept_loop` | when a client connects to the listener |
//! | `admin_loop` | when a client connects to the admin socket |
//! | `session` | before it greets its client |

/// Panics if `BINRELAY_FAULT` names `stage`. Release builds do nothing here.
pub fn inject(stage: &str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::LazyLock;
        static REQUESTED: LazyLock<Option<String>> =
            LazyLock::new(|| std::env::var("BINRELAY_FAULT").ok());
        if REQUESTED.as_deref() == Some(stage) {
            #[allow(clippy::panic, reason = "the purpose of this module")]
            {
                panic!("injected fault in {stage}");
            }
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = stage;
}
