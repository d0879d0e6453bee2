//! What is wrong with a configuration.

use std::path::PathBuf;

use super::origin::Origin;

/// Why a configuration cannot be used. The text names the key and where it stood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the line.
        reason: String,
    },
    /// No setting has this name.
    #[error("unknown key `{key}` {origin}{}", nearest.as_ref().map(|known| format!("; did you mean `{known}`?")).unwrap_or_default())]
    UnknownKey {
        /// The name.
        key: String,
        /// Where it stood.
        origin: Origin,
        /// The name that is most like it.
        nearest: Option<&'static str>,
    },
    /// The value of a setting is not of its kind.
    #[error("`{key}` {origin}: {reason}")]
    BadValue {
        /// The name.
        key: String,
        /// Where it stood.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Invalid(String),
}
