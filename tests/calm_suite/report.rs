//! What was found: the table for people, and what is not as it must be.

/// The head of the table.
const HEAD: [&str; 7] = [
    "state",
    "idle: processor time of the busiest node, whole cluster",
    "loaded: the same",
    "writes per processor second of the leader, whole cluster = 1",
    "log of the noisiest node, idle / loaded (bytes a second)",
    "lines when it began, most of one node",
    "ready",
];

/// Rows and faults of a test.
#[derive(Default)]
pub(crate) struct Report {
    state: String,
    rows: Vec<[String; 7]>,
    faults: Vec<String>,
}

impl Report {
    /// What follows is about this state.
    pub(crate) fn begin(&mut self, state: &str) {
        state.clone_into(&mut self.state);
    }

    /// What it is about.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// A row, but for the state.
    pub(crate) fn row(&mut self, [idle, loaded, rate, log, lines, ready]: [String; 6]) {
        self.rows.push([self.state.clone(), idle, loaded, rate, log, lines, ready]);
    }

    /// Notes a fault unless that holds: all states are to be seen, also if one is wrong.
    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(what());
        }
    }

    /// Prints the table, and fails if there are faults.
    pub(crate) fn end(mut self) {
        self.print();
        let faults = std::mem::take(&mut self.faults);
        self.rows.clear();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn print(&self) {
        let line = |cells: &[String; 7]| format!("| {} |\n", cells.join(" | "));
        let rule = ["---"; 7].map(str::to_owned);
        let rows: String =
            [&HEAD.map(str::to_owned), &rule].into_iter().chain(&self.rows).map(line).collect();
        println!("\n{rows}");
    }
}

impl Drop for Report {
    /// A test that ends before its time still shows what it has seen.
    fn drop(&mut self) {
        if std::thread::panicking() && !self.rows.is_empty() {
            self.print();
            println!("{}", self.faults.join("\n"));
        }
    }
}
