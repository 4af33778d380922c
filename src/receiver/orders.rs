//! What a receiver is to do, and with which settings: it changes while the relay runs.
//!
//! An order ends the present connection. When it has been carried out, its number is noted in the source's status:
//! a receiver that was stopped has closed its connection then, and sends nothing more to the log.

use std::time::Duration;

use tokio::sync::watch;

use super::status::SourceStatus;
use crate::config::SourceConfig;

/// Whether a source is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is.
    Follow,
    /// Not until another order.
    Stop,
    /// Never again: its receiver ends.
    Remove,
}

/// An order to a receiver.
#[derive(Debug, Clone)]
pub struct Order {
    /// Counted from 1.
    pub number: u64,
    /// The settings from now on.
    pub config: SourceConfig,
    /// What it is to do.
    pub activity: Activity,
}

/// The orders to one receiver, and to the control connection of its source.
#[derive(Debug, Clone)]
pub struct Orders(watch::Receiver<Order>);

impl Orders {
    /// Those that are sent to this sender's receiver. If the sender is dropped, the newest order remains.
    pub fn new(orders: watch::Receiver<Order>) -> Self {
        Self(orders)
    }

    /// The newest order.
    pub(super) fn newest(&mut self) -> Order {
        self.0.borrow_and_update().clone()
    }

    /// Waits for an order that has not been read.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether the source was removed.
    pub fn are_removed(&self) -> bool {
        self.0.borrow().activity == Activity::Remove
    }
}

/// Sends orders to a receiver.
#[derive(Debug)]
pub struct OrderSender(watch::Sender<Order>);

impl OrderSender {
    /// With the first order.
    pub fn new(config: SourceConfig, activity: Activity) -> Self {
        Self(watch::Sender::new(Order {
            number: 1,
            config,
            activity,
        }))
    }

    /// For the receiver and the control connection.
    pub fn subscribe(&self) -> Orders {
        Orders::new(self.0.subscribe())
    }

    /// The newest activity.
    pub fn activity(&self) -> Activity {
        self.0.borrow().activity
    }

    /// The number of the newest order.
    pub fn newest_number(&self) -> u64 {
        self.0.borrow().number
    }

    /// Sends an order; returns its number.
    pub fn send(&self, config: SourceConfig, activity: Activity) -> u64 {
        let number = self.0.borrow().number + 1;
        self.0.send_replace(Order {
            number,
            config,
            activity,
        });
        number
    }

    /// Waits until the order with this number, or a later one, has been carried out. Returns whether it was, within
    /// `limit`.
    pub async fn wait(&self, status: &SourceStatus, number: u64, limit: Duration) -> bool {
        let mut carried_out = status.carried_out.subscribe();
        let waiting = carried_out.wait_for(|done| *done >= number);
        matches!(tokio::time::timeout(limit, waiting).await, Ok(Ok(_)))
    }
}
