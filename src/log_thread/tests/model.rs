//! Random histories against a model.

use proptest::prelude::*;

use super::read_back::{Found, transactions, without_position};
use super::*;
use crate::gtid::MariaDbGtid;
use crate::relay_log::LastReceived;

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// New transactions of a server, in one batch.
    New {
        source: usize,
        server: u32,
        count: usize,
        shape: Shape,
        tag: bool,
    },
    /// A copy of an earlier transaction by any path.
    Again {
        source: usize,
        which: usize,
    },
    /// A transaction of the relay's own.
    Own {
        source: usize,
    },
    NextFile {
        source: usize,
    },
    ReplaceServer {
        source: usize,
    },
    Commit,
    Close,
    /// Stops without a commit: unpublished transactions are lost.
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    let source = || 0..SOURCES;
    let shape = prop_oneof![
        4 => Just(Shape::Small),
        1 => Just(Shape::Emptied),
        1 => Just(Shape::Spilled),
    ];
    prop_oneof![
        10 => (source(), 0u32..3, 1usize..4, shape, any::<bool>())
            .prop_map(|(source, server, count, shape, tag)| Op::New {
                source, server, count, shape, tag,
            }),
        5 => (source(), any::<usize>()).prop_map(|(source, which)| Op::Again { source, which }),
        1 => source().prop_map(|source| Op::Own { source }),
        1 => source().prop_map(|source| Op::NextFile { source }),
        1 => source().prop_map(|source| Op::ReplaceServer { source }),
        5 => Just(Op::Commit),
        1 => Just(Op::Close),
        1 => Just(Op::Kill),
    ]
}

/// The expected state of the log.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) log: Vec<(Found, Origin)>,
    pub(super) executed: Executed,
    pub(super) sources: Vec<SourceProgress>,
}

/// The origin of a transaction on its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    source: u16,
    run: u64,
    commit_id: Option<u64>,
}

pub(super) struct History {
    flavor: Flavor,
    pub(super) options: LogOptions,
    sources: Vec<TestSource>,
    sent: Vec<Vec<Vec<u8>>>,
    numbers: u64,
    pub(super) model: Model,
    /// The model as last published.
    published: Model,
    _dir: tempfile::TempDir,
}

impl History {
    pub(super) fn new(flavor: Flavor, max_size: u64, sync: SyncPolicy) -> (Self, LogThread) {
        let dir = fast_dir();
        let options = LogOptions {
            max_size,
            sync,
            ..options(dir.path())
        };
        let log_thread = create(&options, flavor);
        let model = Model {
            log: Vec::new(),
            executed: Executed::empty(flavor),
            sources: vec![SourceProgress::default(); SOURCES],
        };
        let history = Self {
            flavor,
            options,
            sources: (0..SOURCES as u16)
                .map(|n| TestSource::new(n, flavor))
                .collect(),
            sent: Vec::new(),
            numbers: 0,
            published: model.clone(),
            model,
            _dir: dir,
        };
        (history, log_thread)
    }

    pub(super) fn run(&mut self, log_thread: &mut LogThread, op: &Op) {
        match op {
            Op::New {
                source,
                server,
                count,
                shape,
                tag,
            } => {
                let tag = if *tag { "t" } else { "" };
                let groups: Vec<_> = (0..*count)
                    .map(|_| {
                        self.numbers += 1;
                        group(self.flavor, 80 + server, self.numbers, tag, *shape)
                    })
                    .collect();
                self.sent.extend(groups.iter().cloned());
                self.append(log_thread, *source, &groups);
            }
            Op::Again { source, which } => {
                if !self.sent.is_empty() {
                    let group = self.sent[which % self.sent.len()].clone();
                    self.append(log_thread, *source, &[group]);
                }
            }
            Op::Own { source } => {
                self.numbers += 1;
                let group = group(self.flavor, OWN, self.numbers, "", Shape::Small);
                self.append(log_thread, *source, &[group]);
            }
            Op::NextFile { source } => {
                let batch = self.sources[*source].next_file();
                let before = log_thread.log().published();
                log_thread.move_source(&batch).unwrap();
                if log_thread.log().published() != before {
                    self.published = self.model.clone(); // A new file began: the index was full.
                }
                let server_id = self.sources[*source].server_id;
                let kind = self.model.executed.kind();
                let progress = &mut self.model.sources[*source];
                answer(progress, server_id, kind);
                progress.position.file = batch.source_end.file.clone();
                progress.position.offset = 4;
            }
            Op::ReplaceServer { source } => self.sources[*source].replace_server(),
            Op::Commit => {
                log_thread.commit().unwrap();
                self.published = self.model.clone();
            }
            Op::Close => {
                log_thread.close().unwrap();
                self.published = self.model.clone();
                self.reopen(log_thread);
            }
            Op::Kill => self.reopen(log_thread),
        }
    }

    fn append(&mut self, log_thread: &mut LogThread, source: usize, groups: &[Vec<Vec<u8>>]) {
        let batch = self.sources[source].deliver(groups);
        assert_eq!(batch.transactions.len(), groups.len());
        for transaction in &batch.transactions {
            let before = log_thread.log().published();
            let appended = log_thread.append(&batch, transaction);
            if log_thread.log().published() != before {
                self.published = self.model.clone(); // A new file began.
            }
            if let Some(skipped) = self.skipped(source, &batch, transaction)
                && !(appended.is_ok() && self.is_no_order_of_a_server(source, &skipped))
            {
                let refusal = appended.unwrap_err().to_string();
                assert!(refusal.contains(&skipped.to_string()), "{refusal}");
                break; // The source stops, and what follows is not appended.
            }
            if self.is_omitted(source, &batch, transaction) {
                let refusal = appended.unwrap_err().to_string();
                assert!(refusal.contains("was not delivered"), "{refusal}");
                break;
            }
            let decision = appended.unwrap();
            let identity = transaction.identity;
            let own = transaction.server_id == OWN;
            let new = !own && self.model.executed.record(&identity);
            let kind = self.model.executed.kind();
            let progress = &mut self.model.sources[source];
            answer(progress, batch.source_server_id, kind);
            let sent = &progress.sent;
            let executed_again = match identity {
                Identity::MariaDb(gtid) => !own && !new && sent.contains(&gtid),
                _ => false,
            };
            let is_direct = transaction.server_id == batch.source_server_id;
            if executed_again && is_direct {
                self.model.executed.deliver(&identity);
            }
            let new = new || (executed_again && is_direct);
            match decision {
                Decision::New(placement) => {
                    assert!(new);
                    assert_eq!(placement.executed_again, executed_again);
                }
                Decision::Duplicate => assert!(!new && !own && !executed_again),
                Decision::Repeated => assert!(!new && executed_again && !is_direct),
                Decision::Own => assert!(own),
                Decision::Unverified
                | Decision::Resent
                | Decision::BeforeStart
                | Decision::BeforeOrigin
                | Decision::Cleanup => {
                    panic!("{decision:?}")
                }
            }
            if new {
                let origin = Origin {
                    source: batch.source,
                    run: batch.run,
                    commit_id: transaction.commit_id,
                };
                self.model.log.push((expected(&batch, transaction), origin));
            }
            self.move_on(source, &batch, transaction);
        }
        batch.recycle();
    }

    /// MariaDB: whether the path brings a transaction of which another one has sent only later ones. Those of a killed
    /// log that no path has sent again are such.
    fn is_omitted(
        &self,
        source: usize,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> bool {
        let (identity, progress) = (transaction.identity, &self.model.sources[source]);
        let Identity::MariaDb(gtid) = identity else {
            return false;
        };
        let moved = progress.moved_to(batch.source_server_id, IdentityKind::MariaDb);
        let is_sent = moved.as_ref().unwrap_or(progress).sent.contains(&gtid);
        let mut delivered = self.model.log.iter();
        self.model.executed.contains(&identity)
            && !is_sent
            && !transaction.emptied
            && delivered.all(|(found, _)| found.identity != identity)
    }

    /// The source's progress after a transaction.
    fn move_on(&mut self, source: usize, batch: &TransactionBatch, transaction: &Transaction) {
        let progress = &mut self.model.sources[source];
        let is_same_file = progress.position.file == batch.source_end.file;
        progress.last = Some(LastReceived {
            file: batch.source_end.file.clone(),
            begin: if is_same_file {
                progress.position.offset
            } else {
                4
            },
            end: transaction.source_offset,
            digest: transaction.history_digest(),
        });
        progress.position.file = batch.source_end.file.clone();
        progress.position.offset = transaction.source_offset;
        progress.server_id = batch.source_server_id;
        if let Identity::MariaDb(gtid) = transaction.identity {
            progress.gtid_position.set(gtid);
            progress.sent.record_again(gtid);
        }
    }

    /// The highest transaction that the log has between the last one of the path's own server and `next`.
    fn skipped(
        &self,
        source: usize,
        batch: &TransactionBatch,
        next: &crate::transaction::Transaction,
    ) -> Option<MariaDbGtid> {
        let Identity::MariaDb(next) = next.identity else {
            return None;
        };
        let progress = &self.model.sources[source];
        let server_id = batch.source_server_id;
        if progress.server_id != server_id || next.server_id != server_id {
            return None;
        }
        let sent = progress.sent.highest(next.domain_id, server_id)?;
        let delivered = self
            .model
            .log
            .iter()
            .filter_map(|(found, _)| match found.identity {
                Identity::MariaDb(gtid) => Some(gtid),
                _ => None,
            });
        let of_server =
            |gtid: &MariaDbGtid| (gtid.domain_id, gtid.server_id) == (next.domain_id, server_id);
        delivered
            .filter(of_server)
            .filter(|gtid| sent < gtid.seq_no && gtid.seq_no < next.seq_no)
            .max_by_key(|gtid| gtid.seq_no)
    }

    /// Whether the log has the transactions of a server in another order than that of their numbers, or not the
    /// newest one that the path has sent. No server logs such an order: here a path may send what was lost in a crash
    /// after later ones. Then not all that was skipped is found.
    fn is_no_order_of_a_server(&self, source: usize, of: &MariaDbGtid) -> bool {
        let numbers = self
            .model
            .log
            .iter()
            .filter_map(|(found, _)| match found.identity {
                Identity::MariaDb(gtid)
                    if (gtid.domain_id, gtid.server_id) == (of.domain_id, of.server_id) =>
                {
                    Some(gtid.seq_no)
                }
                _ => None,
            });
        let numbers: Vec<u64> = numbers.collect();
        let sent = self.model.sources[source]
            .sent
            .highest(of.domain_id, of.server_id);
        !numbers.is_sorted() || !sent.is_some_and(|sent| numbers.contains(&sent))
    }

    fn reopen(&mut self, log_thread: &mut LogThread) {
        let end = log_thread.log().published();
        let recovered = recovered(&self.options);
        assert_eq!(recovered.end, end);
        assert_eq!(recovered.executed, self.published.executed);
        for (name, progress) in self
            .options
            .source_names
            .iter()
            .zip(&self.published.sources)
        {
            let found = recovered.sources.get(name).cloned().unwrap_or_default();
            assert_eq!(found, *progress, "source {name}");
        }
        *log_thread = LogThread::resume(self.options.clone(), recovered).unwrap();
        self.model = self.published.clone();
        self.check(log_thread);
    }

    fn check(&self, log_thread: &LogThread) {
        let state = log_thread.log().state().clone();
        assert_eq!(state.executed, self.model.executed);
        assert_eq!(state.purged, Executed::empty(self.flavor));
        assert_eq!(state.sources, self.model.sources);
        assert_eq!(state.files, self.options.log_dir.read_list().unwrap());
        let found = transactions(&self.options.log_dir);
        let origins: Vec<_> = self.model.log.iter().map(|(_, origin)| origin).collect();
        for (at, pair) in found.windows(2).enumerate() {
            if pair[0].commit_id.is_some() && pair[0].commit_id == pair[1].commit_id {
                assert_eq!(origins[at], origins[at + 1], "{pair:?}");
                assert_eq!(pair[0].file, pair[1].file);
            }
        }
        let found: Vec<_> = found.into_iter().map(without_coordinates).collect();
        let expected: Vec<_> = self
            .model
            .log
            .iter()
            .map(|(found, _)| found.clone())
            .collect();
        assert!(found == expected, "{found:?}\n{expected:?}");
    }
}

pub(super) fn without_coordinates(found: Found) -> Found {
    Found {
        commit_id: None,
        file: 0,
        end: 0,
        ..found
    }
}

fn expected(batch: &TransactionBatch, transaction: &crate::transaction::Transaction) -> Found {
    let rest = match &transaction.spill {
        None => batch.bytes[transaction.rest.clone()].to_vec(),
        Some(spill) => {
            let mut rest = vec![0; spill.len() as usize];
            spill.read_exact_at(&mut rest, 0).unwrap();
            rest
        }
    };
    Found {
        identity: transaction.identity,
        server_id: transaction.server_id,
        rest: make::split(&rest)
            .iter()
            .map(|event| without_position(event))
            .collect(),
        commit_id: None,
        file: 0,
        end: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn log_equals_the_model(
        mariadb in any::<bool>(),
        max_size in prop_oneof![Just(700u64), Just(3000), Just(1 << 30)],
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let flavor = if mariadb { Flavor::MariaDb } else { Flavor::MySql };
        let (mut history, mut log_thread) = History::new(flavor, max_size, SyncPolicy::Commit);
        for op in &ops {
            history.run(&mut log_thread, op);
        }
        history.run(&mut log_thread, &Op::Close);
    }
}

/// This server answers at the source.
fn answer(progress: &mut SourceProgress, server_id: u32, kind: IdentityKind) {
    if let Some(moved) = progress.moved_to(server_id, kind) {
        *progress = moved;
    }
    progress.server_id = server_id;
}
