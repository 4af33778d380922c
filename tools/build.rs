//! Tests of MySQL 5.5 and 5.7 exist only where the variable that names such a server is set; see
//! tests/README.md. Nothing else of the build depends on it.

fn main() {
    for (variable, cfg) in [
        ("BINRELAY_SERVER_MYSQL_5_5", "has_mysql_5_5"),
        ("BINRELAY_SERVER_MYSQL_5_7", "has_mysql_5_7"),
    ] {
        println!("cargo::rerun-if-env-changed={variable}");
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        if std::env::var_os(variable).is_some_and(|path| !path.is_empty()) {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}
