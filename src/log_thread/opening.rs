//! Beginning and continuing a log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::paths::{PathKind, Paths, has_one_live};
use super::retention::FollowedPaths;
use super::source::Source;
use super::{LogThread, carried_over};
use crate::binlog::FormatDescription;
use crate::gtid::{GtidSet, Uuid};
use crate::identity::Executed;
use crate::merge::Merge;
use crate::merge::halves::OpenHalves;
use crate::merge::pairing::Pairing;
use crate::merge::pairing::anchor::PrecedingTransactions;
use crate::merge::temporary_tables::TemporaryTables;
use crate::position::RecordNumber;
use crate::relay_log::recover::Recovered;
use crate::relay_log::{LogError, LogOptions, LogState, OpenedLog, SourceProgress, Writer};

/// The number of the file with which a log begins.
const FIRST_FILE: u64 = 1;

impl LogThread {
    /// Creates a log whose first file lists `purged` as the transactions before it. `progress` has
    /// the start of each source.
    ///
    /// # Errors
    /// When the files cannot be created.
    pub fn create(
        options: LogOptions,
        format: &FormatDescription,
        purged: Executed,
        progress: Vec<SourceProgress>,
    ) -> Result<Self, LogError> {
        Self::create_after(options, format, purged, progress, &[])
    }

    /// As [`LogThread::create`], without GTIDs: `preceding` are the transactions that precede another
    /// source's first file.
    ///
    /// # Errors
    /// As [`LogThread::create`].
    pub fn create_after(
        options: LogOptions,
        format: &FormatDescription,
        purged: Executed,
        mut progress: Vec<SourceProgress>,
        preceding: &[PrecedingTransactions],
    ) -> Result<Self, LogError> {
        progress.resize(options.source_names.len(), SourceProgress::default());
        let begin = RecordNumber {
            file: FIRST_FILE,
            record: 0,
        };
        let mut pairing = Pairing::new(options.source_names.iter().map(|_| begin));
        for one in preceding {
            pairing.begin_after(one.path, one.origin, one.count);
        }
        let halves = OpenHalves::default();
        let merge = Merge::new(
            options.server_id,
            purged.clone(),
            purged.clone(),
            pairing,
            halves,
        );
        let opened = OpenedLog {
            log_id: Uuid::random(),
            state: LogState {
                executed: purged.clone(),
                purged,
                files: Vec::new(),
                sources: progress,
            },
            number: FIRST_FILE,
        };
        let configured = options.source_names.clone();
        let kinds = vec![PathKind::Configured; options.source_names.len()];
        let tables = TemporaryTables::default();
        Self::open(
            options,
            format,
            opened,
            merge,
            (tables, GtidSet::new(), BTreeSet::new()),
            (configured, kinds),
        )
    }

    /// Continues a recovered log, in a new file. The names in `options` are replaced by those that the log has.
    ///
    /// # Errors
    /// When the files cannot be created.
    pub fn resume(mut options: LogOptions, recovered: Recovered) -> Result<Self, LogError> {
        let configured = std::mem::replace(&mut options.source_names, recovered.source_names);
        let kind = |name: &Arc<str>| PathKind::of(name, &configured);
        let kinds = options.source_names.iter().map(kind).collect();
        let progress = options.source_names.iter();
        let progress = progress.map(|name| recovered.sources.get(name).cloned());
        let progress = progress.map(Option::unwrap_or_default).collect();
        Writer::close_recovered(&options, recovered.end)?;
        let mut merge = Merge::new(
            options.server_id,
            recovered.executed.clone(),
            recovered.purged.clone(),
            recovered.pairing,
            recovered.halves,
        );
        for (server_id, before) in &recovered.new_histories {
            merge.restore_history(*server_id, before);
        }
        merge.restore_skipped(&recovered.skipped);
        if recovered.files.first() != Some(&FIRST_FILE) {
            merge.forget_beginning(&recovered.counted);
        }
        let opened = OpenedLog {
            log_id: recovered.log_id,
            state: LogState {
                executed: recovered.executed,
                purged: recovered.purged,
                files: recovered.files,
                sources: progress,
            },
            number: recovered.end.file + 1,
        };
        let kept = (
            recovered.temporary_tables,
            recovered.counted,
            recovered.earlier_histories,
        );
        let kept_paths = (configured, kinds);
        Self::open(options, &recovered.format, opened, merge, kept, kept_paths)
    }

    fn open(
        options: LogOptions,
        format: &FormatDescription,
        opened: OpenedLog,
        mut merge: Merge,
        (temporary_tables, counted, earlier_histories): (TemporaryTables, GtidSet, BTreeSet<u32>),
        (configured, kinds): (Vec<Arc<str>>, Vec<PathKind>),
    ) -> Result<Self, LogError> {
        for progress in &opened.state.sources {
            merge.begin_origin(progress.server_id, progress.first_timestamp);
        }
        merge.set_one_path(has_one_live(kinds.iter().copied()));
        let server_ids = opened.state.sources.iter();
        merge.start_file(opened.number, server_ids.map(|source| source.server_id));
        let sources = options.source_names.iter().cloned().zip(kinds);
        let sources = sources.map(|(name, kind)| Source::new(name, kind));
        let sources = sources.collect();
        let carried = carried_over(
            &merge,
            &temporary_tables,
            (&counted, &earlier_histories),
            opened.number,
        );
        let mut followed = FollowedPaths::new(configured);
        let paths = Arc::new(Paths::new(&options.source_names));
        let first_file = opened.state.files.first().copied();
        let log = Writer::open(options, format, opened, &carried)?;
        followed.report(&log, &carried.paths);
        Ok(Self {
            followed,
            log,
            merge,
            sources,
            paths,
            temporary_tables,
            counted,
            earlier_histories,
            first_file,
        })
    }
}
