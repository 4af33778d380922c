//! Registering a session's replica, and serving its dumps.

use std::sync::Arc;

use super::state::{Flow, Session};
use crate::connection::{ConnectionError, Phase};
use crate::flavor::Flavor;
use crate::gtid::{GtidPosition, Uuid};
use crate::protocol::ServerError;
use crate::protocol::command::RegisterReplica;
use crate::protocol::error_code::{ER_ACCESS_DENIED_ERROR, ER_UNKNOWN_ERROR};
use crate::relay_log::RelayLog;
use crate::sender::ahead;
use crate::sender::counters::Counters;
use crate::sender::dump_output::DumpEnd;
use crate::sender::dump_request::{
    DumpRequest, DumpStart, find_start, is_semi_sync, needed_position,
};
use crate::sender::environment::stopping;
use crate::sender::known::{described, received_up_to, remember, save};
use crate::sender::replicas::{Replica, killed};
use crate::sender::sql_errors::{missing_privilege, no_log_yet};
use crate::sender::stream::{self, DumpContext};

/// A longer `report_host` is truncated to this many characters.
const REPORT_HOST_LENGTH_MAX: usize = 255;

impl Session {
    /// Handles COM_REGISTER_SLAVE.
    ///
    /// # Errors
    /// The account lacks the privilege.
    pub(super) fn register(&self, replica: &RegisterReplica<'_>) -> Result<(), ServerError> {
        if !self.privileges.replication {
            let text = format!(
                "Access denied for user '{}'@'{}' (using password: YES)",
                self.user, self.host
            );
            return Err(ServerError::new(ER_ACCESS_DENIED_ERROR, text));
        }
        if self.environment.log().is_none() {
            return Err(no_log_yet());
        }
        let host = String::from_utf8_lossy(replica.host);
        let replica = Replica {
            server_id: replica.server_id,
            server_uuid: self.replica_uuid(),
            report_host: host.chars().take(REPORT_HOST_LENGTH_MAX).collect(),
            report_port: replica.port,
            ..Replica::default()
        };
        Counters::count(&self.environment.replicas.counters.registrations);
        let client = &self.registration.client;
        self.environment.replicas.set_replica(client, replica);
        Ok(())
    }

    fn replica_uuid(&self) -> Option<Uuid> {
        let names = ["replica_uuid", "slave_uuid"];
        self.variables.first_text(&names)?.parse().ok()
    }

    /// The replica of this client, which has requested this dump.
    fn dumping(&self, request: &DumpRequest) -> Replica {
        let registered = self.registration.client.replica();
        let registered = registered.as_ref();
        Replica {
            server_id: request.server_id,
            server_uuid: self.replica_uuid(),
            report_host: registered.map_or_else(String::new, |known| known.report_host.clone()),
            report_port: registered.map_or(0, |known| known.report_port),
            is_semi_sync: is_semi_sync(&self.variables),
            by_gtid_set: request.set.is_some(),
            reads_once: request.ends_at_the_end(),
            ..Replica::default()
        }
    }

    /// Serves a dump until it ends.
    pub(super) async fn dump(&mut self, request: DumpRequest) -> Result<Flow, ConnectionError> {
        self.connection.set_phase(Phase::Stream);
        if !self.privileges.replication {
            self.send_final_error(&missing_privilege("REPLICATION SLAVE"))
                .await;
            return Ok(Flow::End);
        }
        let Some(log) = self.environment.log() else {
            self.send_final_error(&no_log_yet()).await;
            return Ok(Flow::End);
        };
        let client = self.registration.client.clone();
        let replica = self.dumping(&request);
        let flavor = Flavor::of_version(log.server_version());
        let replica = self.environment.replicas.set_replica(&client, replica);
        self.environment
            .replicas
            .end_older_dumps(flavor, &client, &replica);
        // Nothing is removed while the start is being found.
        let pin = log.pin(described(&client, &replica));
        if let Some(position) = needed_position(flavor, &self.variables)
            && !self.wait_for(&log, &position).await?
        {
            return Ok(Flow::End);
        }
        let start = match self.find_start(log.clone(), request).await {
            Ok(start) => start,
            Err(error) => {
                tracing::warn!(peer = self.connection.peer_name(), %error, "dump refused");
                self.send_final_error(&error).await;
                return Ok(Flow::End);
            }
        };
        match start.begins_at() {
            Some(begin) => {
                pin.move_to(begin.file);
                remember(&log, &client, &replica, begin);
                save(&log).await;
            }
            // It reads no file of the log, however long it stays connected.
            None => pin.move_to(u64::MAX),
        }
        tracing::info!(
            peer = self.connection.peer_name(),
            server_id = replica.server_id,
            file = start.file.name(log.log_dir()),
            position = start.position,
            by_gtid = start.by_gtid,
            semi_sync = start.is_semi_sync,
            "dump started"
        );
        let context = DumpContext {
            log: log.clone(),
            server_id: self.environment.options.server_id,
            write_timeout: self.environment.options.write_timeout,
            client: client.clone(),
            replica: replica.clone(),
            pin,
            acknowledged: self.environment.replicas.acknowledged.clone(),
            shutdown: self.environment.shutdown.clone(),
        };
        let peer = self.connection.peer_name().to_owned();
        let end = stream::run(&mut self.connection, context, start).await;
        if let Some(sent) = received_up_to(&log, &replica) {
            remember(&log, &client, &replica, sent);
        }
        self.end_dump(end, &peer).await
    }

    /// Waits for what the replica has; false when the session ends instead.
    async fn wait_for(
        &mut self,
        log: &RelayLog,
        position: &GtidPosition,
    ) -> Result<bool, ConnectionError> {
        let mut kill = self.registration.client.follow_kill();
        let mut shutdown = self.environment.shutdown.clone();
        tokio::select! {
            () = ahead::wait(log, &self.environment.sources.rows, position) => Ok(true),
            () = killed(&mut kill) => Ok(false),
            () = stopping(&mut shutdown) => Ok(false),
            error = self.connection.wait_closed() => Err(error),
        }
    }

    /// Tells the client, and the log, why its dump has ended.
    async fn end_dump(&mut self, end: DumpEnd, peer: &str) -> Result<Flow, ConnectionError> {
        match end {
            DumpEnd::Complete => return Ok(Flow::Continue),
            DumpEnd::Gone(error) => return Err(error),
            DumpEnd::Cut => {}
            DumpEnd::Stalled => {
                let limit = self.environment.options.write_timeout;
                tracing::warn!(
                    peer,
                    "the replica accepted no data for {limit:?} and was disconnected"
                );
            }
            DumpEnd::Refused(error) => {
                tracing::warn!(peer, %error, "dump ended");
                self.send_final_error(&error).await;
            }
        }
        Ok(Flow::End)
    }

    async fn find_start(
        &self,
        log: Arc<RelayLog>,
        request: DumpRequest,
    ) -> Result<DumpStart, ServerError> {
        let environment = self.environment.clone();
        let variables = self.variables.clone();
        let found = tokio::task::spawn_blocking(move || {
            let uuid = environment.options.server_uuid;
            find_start(&log, uuid, request, &variables)
        });
        found.await.unwrap_or_else(|_| {
            let text = "the start of the dump could not be found: internal error";
            Err(ServerError::new(ER_UNKNOWN_ERROR, text))
        })
    }
}
