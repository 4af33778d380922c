//! Which configuration file a command reads, and which running relay it asks.

use std::env;
use std::path::PathBuf;

use binrelay::config::{Config, ConfigError};

/// The variable that names the configuration file if `--config` is not given.
const VARIABLE: &str = "BINRELAY_CONFIG";
/// The configuration file if neither is given.
const DEFAULT_PATH: &str = "/etc/binrelay/binrelay.toml";

/// The configuration file.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// Configuration file of the relay [default: $BINRELAY_CONFIG, else /etc/binrelay/binrelay.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> PathBuf {
        let named = self.config.clone();
        let named = named.or_else(|| {
            let value = env::var_os(VARIABLE)?;
            (!value.is_empty()).then(|| value.into())
        });
        named.unwrap_or_else(|| DEFAULT_PATH.into())
    }

    /// The whole configuration.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path())
    }

    /// The configuration without passwords: for commands that only ask the running relay.
    ///
    /// # Errors
    /// See [`Config::load_without_secrets`].
    pub fn load_without_secrets(&self) -> Result<Config, ConfigError> {
        Config::load_without_secrets(&self.path())
    }
}

/// The running relay.
#[derive(Debug, clap::Args)]
pub struct RunningRelay {
    #[command(flatten)]
    config: ConfigFile,
    /// Unix socket of the relay; the configuration is not read
    #[arg(long, value_name = "SOCKET", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

impl RunningRelay {
    /// Its Unix socket.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn socket(&self) -> Result<PathBuf, ConfigError> {
        match &self.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(self.config.load_without_secrets()?.admin.socket),
        }
    }
}
