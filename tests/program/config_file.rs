//! Which configuration file a command reads.

use crate::support::relay::binrelay;

/// The file that `binrelay check` complains about; there is none.
fn missing(arguments: &[&str], variable: Option<&str>) -> String {
    let mut command = binrelay();
    command.env_remove("BINRELAY_CONFIG");
    command.envs(variable.map(|path| ("BINRELAY_CONFIG", path)));
    let output = command.arg("check").args(arguments).output();
    let output = output.expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    errors
}

#[test]
fn option_comes_before_variable_and_variable_before_default() {
    let option = ["--config", "/nonexistent/option.toml"];
    let variable = "/nonexistent/variable.toml";
    let found = missing(&option, Some(variable));
    assert!(found.contains("/nonexistent/option.toml"), "{found}");
    let found = missing(&[], Some(variable));
    assert!(found.contains(variable), "{found}");
    for unset in [None, Some("")] {
        let found = missing(&[], unset);
        assert!(found.contains("/etc/binrelay/binrelay.toml"), "{found}");
    }
}
