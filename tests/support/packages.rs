//! The Debian package of this build, and the same as other versions, built once for all tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// The package as it is built.
pub const CURRENT: &str = "current";
/// Versions before and after that of the project, made from the same build.
pub const OLDER: &str = "0.0.1-1";
pub const NEWER: &str = "99.0.0-1";

/// What the packages are made of, besides the program.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "README.md",
    "tools/monitoring",
    "tools/package",
    "tools/package.d",
    "tools/package.d/examples",
];

/// While this exists, no other test builds packages, or runs a machine on which they are installed.
pub struct Packages {
    directory: PathBuf,
    _lock: File,
}

impl Packages {
    /// Waits for other tests with packages. Builds them if they are older than what they are made of.
    pub fn build() -> Packages {
        let path = std::env::temp_dir().join("binrelay-packages.lock");
        let lock = File::create(path).expect("the lock's file");
        lock.lock().expect("the file can be locked");
        let packages = Packages {
            directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages"),
            _lock: lock,
        };
        if !packages.are_current() {
            packages.make_all();
        }
        packages
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, version: &str) -> PathBuf {
        self.directory.join(format!("{version}.deb"))
    }

    fn are_current(&self) -> bool {
        // The last one to be written.
        let Some(built) = modified(&self.path(NEWER)) else {
            return false;
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = Path::new(env!("CARGO_BIN_EXE_binrelay"));
        let mut made_of = vec![program.to_path_buf()];
        for source in SOURCES {
            let path = root.join(source);
            let files = path.read_dir().into_iter().flatten();
            made_of.extend(files.map(|file| file.expect("a file").path()));
            made_of.push(path);
        }
        made_of
            .iter()
            .all(|path| modified(path).is_some_and(|changed| changed < built))
    }

    fn make_all(&self) {
        std::fs::remove_dir_all(&self.directory).ok();
        let built = self.directory.join("built");
        let output = tool("package").arg("--debug").arg(&built).output();
        assert_success("tools/package", &output.expect("tools/package can be run"));
        let mut found = built.read_dir().expect("a directory");
        let package = found.next().expect("a package").expect("a package").path();
        assert!(found.next().is_none(), "more than one package");
        std::fs::rename(&package, self.path(CURRENT)).expect("it is renamed");
        for version in [OLDER, NEWER] {
            self.make(version);
        }
    }

    fn make(&self, version: &str) {
        let files = self.directory.join(version);
        let run = |arguments: &[&Path]| {
            let output = Command::new("dpkg-deb").args(arguments).output();
            assert_success("dpkg-deb", &output.expect("dpkg-deb can be run"));
        };
        run(&[Path::new("-R"), &self.path(CURRENT), &files]);
        let change = |path: &str, change: &dyn Fn(String) -> String| {
            let path = files.join(path);
            let text = std::fs::read_to_string(&path).expect("a file of the package");
            std::fs::write(&path, change(text)).expect("it is written");
        };
        change("DEBIAN/control", &|text| {
            let lines = text
                .lines()
                .map(|line| match line.starts_with("Version: ") {
                    true => format!("Version: {version}\n"),
                    false => format!("{line}\n"),
                });
            lines.collect()
        });
        change("etc/binrelay/binrelay.toml", &|text| {
            format!("{text}# of {version}\n")
        });
        // The default takes much longer.
        let fast = ["-Zgzip", "-z1", "-b"].map(Path::new);
        run(&[&fast[..], &[&files, &self.path(version)]].concat());
        std::fs::remove_dir_all(&files).expect("it is removed");
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// A program of the project's directory `tools`.
pub fn tool(name: &str) -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    Command::new(tools.join(name))
}

pub fn assert_success(what: &str, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success(),
        "{what}: {}\n{out}{err}",
        output.status
    );
}
