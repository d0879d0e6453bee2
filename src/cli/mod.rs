//! The command line: the server, a client that speaks HTTP, and tools for files.
//!
//! Exit statuses, the same for all commands:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a negative answer: no such key, not ready |
//! | 2 | wrong usage of the command line |
//! | 3 | the condition of a write does not hold |
//! | 4 | the server cannot be reached |
//! | 5 | the server, or a tool, refused or failed |
//! | 6 | the outcome of a write is not known |
//! | 65 | a data file is damaged; the message names file and offset |
//! | 69 | the listen address cannot be used |
//! | 70 | the raft core or the log failed; what was acknowledged is on disk |
//! | 71 | shutdown did not end before `shutdown.deadline_ms` |
//! | 72 | no space left on the disk |
//! | 73 | the data directory cannot be created or written |
//! | 74 | the system refused an operation on a file |
//! | 75 | another process uses the data directory |
//! | 76 | the data directory is of another cluster, not whole, or not empty where it must be |
//! | 77 | the data was written by a newer version |
//! | 78 | wrong configuration |
//! | 79 | power was lost in a durability mode that does not survive it |
//! | 80 | the node is no member of its cluster any more |
//! | 130 | a second signal ended the process at once |
//!
//! Invariants: results go to standard output, everything else to standard error; values are written byte for byte.

mod arguments;
mod backup;
mod bench;
mod client;
mod cluster;
mod cluster_arguments;
mod exit;
mod files;
mod generate;
mod home;
mod input;
mod keys;
mod lifecycle;
mod local;
mod many;
mod node;
mod output;
mod progress;
mod run;
mod secret;
mod serve;
mod server;
mod settings;

pub use exit::Exit;
pub use run::run;
