//! The environment variables that the core sets for a native plugin.

use std::env;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::strict_json;

/// Where a plugin runs: its name, socket and folders.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Environment {
    /// `REED_PLUGIN_NAME`: the name in its row of plugin-registry.csv.
    pub name: String,
    /// `REED_SOCKET`: the socket on which the core listens for this plugin.
    pub socket: PathBuf,
    /// `REED_RUNTIME_DIR`: the folder of sockets and FIFOs.
    pub runtime_dir: PathBuf,
    /// `REED_PLUGIN_DIR`: the plugin's own folder, read-only.
    pub plugin_dir: PathBuf,
    /// `REED_DATA_DIR`: a writable folder, for a plugin with the permission file_write.
    pub data_dir: Option<PathBuf>,
    /// `REED_SETTINGS`: JSON. The settings in the core's answer to the registration replace it.
    pub settings: Value,
}

impl Environment {
    /// An environment for tests, with empty settings, no data folder, and `runtime_dir` as the plugin's folder.
    pub fn new(
        name: impl Into<String>,
        socket: impl Into<PathBuf>,
        runtime_dir: impl Into<PathBuf>,
    ) -> Environment {
        let runtime_dir = runtime_dir.into();
        Environment {
            name: name.into(),
            socket: socket.into(),
            plugin_dir: runtime_dir.clone(),
            runtime_dir,
            data_dir: None,
            settings: Value::Object(serde_json::Map::new()),
        }
    }

    /// Reads the environment variables.
    pub fn from_env() -> Result<Environment, Error> {
        let (name, socket, runtime_dir) =
            (text("REED_PLUGIN_NAME")?, text("REED_SOCKET")?, text("REED_RUNTIME_DIR")?);
        let mut environment = Environment::new(name, socket, runtime_dir);
        environment.plugin_dir = env::var_os("REED_PLUGIN_DIR").map(PathBuf::from).unwrap_or_default();
        environment.data_dir =
            env::var_os("REED_DATA_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(settings) = env::var("REED_SETTINGS").ok().filter(|settings| !settings.is_empty()) {
            environment.settings = strict_json::parse(settings.as_bytes())
                .map_err(|error| Error::Environment { variable: "REED_SETTINGS", why: error.to_string() })?;
        }
        Ok(environment)
    }
}

fn text(variable: &'static str) -> Result<String, Error> {
    match env::var(variable) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => Err(Error::Environment { variable, why: "is empty".to_owned() }),
        Err(error) => Err(Error::Environment { variable, why: error.to_string() }),
    }
}
