//! Where a setting stood.

use std::fmt;
use std::path::PathBuf;

/// Where a setting stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the file.
    File(PathBuf),
    /// In this variable of the environment.
    Environment(String),
    /// Behind this flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("by default"),
            Origin::File(path) => write!(f, "in {}", path.display()),
            Origin::Environment(variable) => write!(f, "in the environment ({variable})"),
            Origin::Flag(flag) => write!(f, "on the command line ({flag})"),
        }
    }
}
