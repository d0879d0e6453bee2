//! Rust source as tokens, so that no rule is fooled by comments or strings.
//!
//! This is not a full lexer: it tells words, punctuation, string literals and comments apart and knows the
//! line of each. That is all the rules need. Numbers, characters and lifetimes become [`Kind::Other`].

/// What a token is, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or a keyword; raw identifiers without their `r#`.
    Word,
    /// One character of punctuation, or `::`.
    Punct,
    /// The content of a string literal of any kind, escapes left as they stand.
    Text,
    /// A number, a character or a lifetime.
    Other,
}

/// One token and the line it starts on, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    /// Whether this is the given word or punctuation; a string literal never is.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Punct) && self.text == text
    }
}

/// A comment of any kind and the line it starts on.
#[derive(Debug)]
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Splits a source file into tokens and comments.
pub(crate) fn lex(text: &str) -> (Vec<Token>, Vec<Comment>) {
    let mut lexer =
        Lexer { chars: text.chars().collect(), at: 0, line: 1, tokens: Vec::new(), comments: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    (lexer.tokens, lexer.comments)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        c
    }

    fn push(&mut self, kind: Kind, text: String, line: usize) {
        self.tokens.push(Token { kind, text, line });
    }

    fn step(&mut self) {
        let (c, next) = (self.peek(0), self.peek(1));
        match c {
            _ if c.is_whitespace() => _ = self.bump(),
            '/' if next == '/' => self.line_comment(),
            '/' if next == '*' => self.block_comment(),
            '"' => self.string(0, false),
            '\'' => self.quote(),
            ':' if next == ':' => {
                self.push(Kind::Punct, "::".into(), self.line);
                self.at += 2;
            }
            _ if c.is_ascii_digit() => self.number(),
            _ if c.is_alphabetic() || c == '_' => self.word(),
            _ => {
                self.push(Kind::Punct, c.to_string(), self.line);
                self.at += 1;
            }
        }
    }

    fn line_comment(&mut self) {
        let (line, mut text) = (self.line, String::new());
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            text.push(self.bump());
        }
        self.comments.push(Comment { text, line });
    }

    fn block_comment(&mut self) {
        let (line, mut text, mut depth) = (self.line, String::new(), 0);
        while self.at < self.chars.len() {
            let pair = (self.peek(0), self.peek(1));
            if pair == ('/', '*') || pair == ('*', '/') {
                depth += if pair.0 == '/' { 1 } else { -1 };
                text.push(self.bump());
            }
            text.push(self.bump());
            if depth == 0 {
                break;
            }
        }
        self.comments.push(Comment { text, line });
    }

    /// A string literal from its opening quote. A raw one ends at a quote followed by as many hashes.
    fn string(&mut self, hashes: usize, raw: bool) {
        let (line, mut text) = (self.line, String::new());
        self.bump();
        while self.at < self.chars.len() {
            let c = self.bump();
            if c == '"' && (0..hashes).all(|i| self.peek(i) == '#') {
                self.at += hashes;
                break;
            }
            text.push(c);
            if c == '\\' && !raw {
                text.push(self.bump());
            }
        }
        self.push(Kind::Text, text, line);
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let line = self.line;
        self.bump();
        if self.peek(0) == '\\' {
            self.at += 2;
            while self.at < self.chars.len() && self.bump() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.bump();
            self.bump();
        } else {
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.bump();
            }
        }
        self.push(Kind::Other, "'".into(), line);
    }

    fn number(&mut self) {
        let line = self.line;
        let part_of =
            |c: char, next: char| c.is_alphanumeric() || c == '_' || (c == '.' && next.is_ascii_digit());
        while part_of(self.peek(0), self.peek(1)) {
            self.bump();
        }
        self.push(Kind::Other, "0".into(), line);
    }

    /// A word, or the prefix of a literal: `b""`, `br#""#`, `c""`, `b''`, or of a raw identifier: `r#type`.
    fn word(&mut self) {
        let (line, mut text) = (self.line, String::new());
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            text.push(self.bump());
        }
        let prefix = matches!(text.as_str(), "r" | "b" | "br" | "c" | "cr");
        let raw = text.ends_with('r');
        let hashes = (0..).take_while(|i| self.peek(*i) == '#').count();
        match self.peek(hashes) {
            '"' if prefix && (raw || hashes == 0) => {
                self.at += hashes;
                self.string(hashes, raw);
            }
            '\'' if text == "b" && hashes == 0 => self.quote(),
            c if text == "r" && hashes == 1 && (c.is_alphabetic() || c == '_') => {
                self.at += 1;
                self.word();
            }
            _ => self.push(Kind::Word, text, line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let (tokens, _) = lex(text);
        tokens.into_iter().filter(|t| t.kind == Kind::Word).map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        assert_eq!(words("a // b\n c /* d /* e */ f */ g"), ["a", "c", "g"]);
        assert_eq!(words(r#"a "b \" c" d b"e" f"#), ["a", "d", "f"]);
        assert_eq!(words("a r#\"b \" c\"# d br##\"e\"# f\"## g"), ["a", "d", "g"]);
        assert_eq!(words(r"a r#type r'x"), ["a", "type", "r"]);
    }

    #[test]
    fn characters_are_not_lifetimes() {
        assert_eq!(
            words(r#"let a = '"'; b('\'', '\u{1F600}', b'"'); c::<'d>(x)"#),
            ["let", "a", "b", "c", "x"]
        );
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let (tokens, comments) = lex("/* 1\n2 */ a\n\"3\n4\" b // c\n1.5 d 0..e");
        let line = |word: &str| tokens.iter().find(|t| t.is(word)).map(|t| t.line);
        assert_eq!((line("a"), line("b"), line("d"), line("e")), (Some(2), Some(4), Some(5), Some(5)));
        assert_eq!(comments.iter().map(|c| c.line).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn a_string_is_never_taken_for_a_word() {
        let (tokens, _) = lex("\"fn\"");
        assert!(!tokens[0].is("fn"));
        assert_eq!(tokens[0].text, "fn");
    }
}
