//! Golden scripts of the store: stories in `tests/golden/store/*.txt`, told by what the store answers.
//!
//! Goal: a change of what the store does is seen as a diff that reads as a story, and never happens by accident.
//! `UPDATE_GOLDEN=1 cargo test --test golden_store` writes the answers anew. A story is a row of blocks with an empty line
//! between them: commands, `---`, what came of them. Its blocks share one store. The commands stand in `script`.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "golden files are read and written outside the product")]

mod script;
mod teller;

use std::path::PathBuf;

use teller::Teller;

fn stories() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store");
    let entries = std::fs::read_dir(folder).expect("the folder of stories");
    let mut stories: Vec<PathBuf> = entries.map(|entry| entry.expect("a story").path()).collect();
    stories.sort();
    stories
}

/// The story with the answers that the store gives today.
fn told(story: &str, name: &str) -> String {
    let mut teller = Teller::default();
    let blocks = story.trim_end().split("\n\n").map(|block| {
        let commands = block.split("\n---").next().unwrap_or_default();
        if commands.lines().all(|line| line.starts_with('#')) {
            return commands.to_owned();
        }
        let mut text = format!("{commands}\n---");
        for line in commands.lines().filter(|line| !line.starts_with('#')) {
            let command = script::parse(line).unwrap_or_else(|wrong| panic!("{name}: {line:?}: {wrong}"));
            for answer in teller.run(command) {
                text += &format!("\n{answer}");
            }
        }
        text
    });
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

/// Each story goes as it is written.
#[test]
fn the_store_tells_every_story_as_it_is_written() {
    let stories = stories();
    assert!(stories.len() >= 8, "the stories are there: {stories:?}");
    for path in stories {
        let name = path.display();
        let story = std::fs::read_to_string(&path).expect("a story");
        let told = told(&story, &name.to_string());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &told).expect("the golden file is writable");
        }
        let written = std::fs::read_to_string(&path).expect("a story");
        for (number, (told, written)) in told.lines().zip(written.lines()).enumerate() {
            assert_eq!(told, written, "{name}:{} (left is what the store does)", number + 1);
        }
        assert_eq!(told, written, "{name} ends otherwise");
    }
}
