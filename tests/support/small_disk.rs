//! A disk of a few MiB that can be filled: a tmpfs in a mount namespace of its own, for which no privilege is
//! needed. Everybody reaches it through `/proc`; it ends with the process that holds the namespace.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Bytes that are written at once to fill it; what is left afterwards is less than a page.
const PIECE: usize = 64 * 1024;

pub struct SmallDisk {
    /// Holds the namespace until its input ends.
    holder: Child,
    path: PathBuf,
}

impl SmallDisk {
    /// The reason where the system permits no namespace.
    pub fn new(mib: u32) -> Result<SmallDisk, String> {
        let script =
            format!("mount -t tmpfs -o size={mib}m,mode=700 none /mnt && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare cannot be run: {error}"))?;
        let path = PathBuf::from(format!("/proc/{}/root/mnt", holder.id()));
        let output = holder.stdout.as_mut().expect("its output");
        let mut line = String::new();
        let said = BufReader::new(output).read_line(&mut line);
        match said.is_ok() && line == "ready\n" && path.is_dir() {
            true => Ok(SmallDisk { holder, path }),
            false => {
                holder.kill().ok();
                holder.wait().ok();
                Err("the system permits no file systems in namespaces of users".to_owned())
            }
        }
    }

    /// A directory that does not exist yet.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// No byte is free afterwards.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("a file on the small disk");
        let mut piece = vec![0; PIECE];
        while !piece.is_empty() {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => panic!("the small disk cannot be filled: {error}"),
            }
        }
    }

    /// Frees what `fill` has taken.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
