//! Documents in bodies: JSON and MessagePack are refused, or read, and written in either coding they say the same.
//!
//! ```text
//! byte 0   1 = the rest is MessagePack, else JSON
//! 1..      the document
//! ```

use kvorum::http::Document;
use kvorum::model::limits::MAX_TRANSACTION_COMMANDS;

/// A byte of choices and a document.
pub fn check(bytes: &[u8]) -> bool {
    let Some((choices, bytes)) = bytes.split_first() else { return false };
    let Some(document) = Document::read(bytes, choices & 1 != 0) else { return false };
    let again = Document::read(&document.json, false).expect("what is written is read");
    assert_eq!(again.steps, document.steps, "JSON says the same");
    // Of a fraction, serde_json may read the last digit otherwise; no operation has one.
    let mut pairs = document.json.windows(2);
    let has_fractions = pairs.any(|pair| pair[0].is_ascii_digit() && matches!(pair[1], b'.' | b'e'));
    assert!(again == document || has_fractions, "JSON says the same, byte for byte");
    let again = Document::read(&document.packed, true).expect("what is written is read");
    assert_eq!(again, document, "MessagePack says the same");
    assert!(document.steps.is_none_or(|steps| steps.len() <= MAX_TRANSACTION_COMMANDS));
    true
}
