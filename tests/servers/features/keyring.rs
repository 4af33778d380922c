//! A keyring for MySQL, without which its binlog cannot be encrypted.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::servers::{Kind, ServerOptions, program};

const COMPONENT: &str = "component_keyring_file";

/// Options of a server that loads the keyring component. It looks for its manifest beside its
/// program, and the component for its settings beside itself: `directory`, a new one, has links to
/// both and these two files.
pub fn with_keyring(mut options: ServerOptions, directory: &Path) -> ServerOptions {
    std::fs::create_dir(directory).expect("a directory for the keyring");
    let write =
        |name: &str, text: String| std::fs::write(directory.join(name), text).expect("a file");
    let component = format!(r#"{{ "components": "file://{COMPONENT}" }}"#);
    write("mysqld.my", component);
    let keys = directory.join("keys").display().to_string();
    let settings = format!(r#"{{ "path": {keys:?}, "read_only": false }}"#);
    write(&format!("{COMPONENT}.cnf"), settings);

    let command = program(Kind::MySql, "server");
    let words: Vec<&str> = command
        .get_args()
        .filter_map(|word| word.to_str())
        .collect();
    let server = words.iter().find(|word| word.ends_with("/mysqld"));
    let plugins = words
        .iter()
        .find_map(|word| word.strip_prefix("--plugin-dir="));
    let library = Path::new(plugins.expect("a plugin_dir")).join(format!("{COMPONENT}.so"));
    let link = directory.join("mysqld");
    symlink(server.expect("a program mysqld"), &link).expect("a link");
    symlink(&library, directory.join(format!("{COMPONENT}.so"))).expect("a link");
    options.program_link = Some(link);
    options.extra(format!("--plugin-dir={}", directory.display()))
}
