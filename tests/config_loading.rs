//! Configuration: what stands above what, and what is refused, with words that help.

#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvorum::config::{Error, KEYS, Loaded, Origin, Sources, load};
use kvorum::disk::Real;
use kvorum::model::{Eviction, Settings};
use kvorum::{http, raft, service, shutdown, telemetry, wal};

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("kvorum.toml");
    std::fs::write(&path, text).expect("a file can be written");
    path
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn from_file(text: &str) -> Result<Loaded, Error> {
    let directory = tempfile::tempdir().expect("a directory");
    load(&Sources { file: Some(file(directory.path(), text)), ..Sources::default() }, &Real)
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Loaded, Error> {
    load(&Sources { environment: environment(variables), ..Sources::default() }, &Real)
}

#[track_caller]
fn refused(loaded: Result<Loaded, Error>, words: &[&str]) {
    let text = loaded.err().map(|error| error.to_string()).expect("this is refused");
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}

/// Goal: the defaults of the table are those of the layers, so that neither can drift.
#[test]
fn defaults_are_those_of_the_layers() {
    let config = load(&Sources::default(), &Real).expect("the defaults are valid").config;
    assert_eq!(config.http, http::Config::default());
    assert_eq!(config.service, service::Config::default());
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.seed, Settings::default());
    assert_eq!(config.wal, wal::Config::default());
    assert_eq!(config.wal_keep_bytes, 256 << 20);
    assert_eq!(config.snapshot, raft::SnapshotConfig::default());
    assert_eq!(config.raft, raft::Config::default());
    assert_eq!(config.peer, raft::PeerConfig::default());
    assert_eq!(config.lifecycle_wait, Duration::from_secs(30));
    assert_eq!(config.shutdown, shutdown::Config::default());
    assert_eq!(config.telemetry, telemetry::Config::default());
    assert!(!config.allow_anonymous);
}

/// Goal: file below environment below flags, each key on its own, and each setting knows where it stood.
#[test]
fn sources_stand_above_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(
        directory.path(),
        "[http]\nlisten = \"127.0.0.1:1\"\nrequest_timeout_ms = 1000\n[store]\nmax_bytes = \"1GiB\"\nmax_keys = 7\n",
    );
    let sources = Sources {
        file: Some(path.clone()),
        environment: environment(&[("KVORUM_HTTP__LISTEN", "127.0.0.1:2"), ("KVORUM_STORE__MAX_KEYS", "8")]),
        flags: vec![("--listen".into(), "http.listen".into(), "127.0.0.1:3".into())],
    };
    let loaded = load(&sources, &Real).expect("valid");
    assert_eq!(loaded.config.http.listen.port(), 3);
    assert_eq!(loaded.config.service.request_timeout, Duration::from_secs(1));
    assert_eq!((loaded.config.seed.max_bytes, loaded.config.seed.max_keys), (1 << 30, 8));
    let origin = |name: &str| loaded.settings.iter().find(|s| s.key.name == name).map(|s| s.origin.clone());
    assert_eq!(origin("http.listen"), Some(Origin::Flag("--listen".into())));
    assert_eq!(origin("store.max_keys"), Some(Origin::Environment("KVORUM_STORE__MAX_KEYS".into())));
    assert_eq!(origin("store.max_bytes"), Some(Origin::File(path)));
    assert_eq!(origin("wal.durability"), Some(Origin::Default));
}

/// Goal: every key can be set in every place by the name that the table says.
#[test]
fn every_key_can_be_set_everywhere() {
    for key in KEYS {
        let (section, name) = key.name.split_once('.').expect("section and key");
        let in_file = from_file(&format!("[{section}]\n{name} = {:?}\n", key.default));
        assert!(in_file.is_ok(), "{}: {:?}", key.name, in_file.err());
        let in_environment = from_environment(&[(&key.variable(), key.default)]).expect(key.name);
        let setting = in_environment.settings.iter().find(|setting| setting.key == key).expect("a setting");
        let origin = match key.default.is_empty() && !key.takes_empty {
            true => Origin::Default,
            false => Origin::Environment(key.variable()),
        };
        assert_eq!(setting.origin, origin);
        assert!(!key.doc.is_empty() && !key.doc.contains('|'), "{} has a text for the table", key.name);
    }
}

/// Goal: numbers, sizes and words of TOML are taken as they are meant.
#[test]
fn kinds_of_values() {
    let text = "[wal]\nsegment_bytes = 1048576\nkeep_bytes = \"2 MiB\"\ndurability = \"interval\"\ninterval_ms = 20\n\
                [store]\neviction = \"volatile-ttl\"\n[auth]\nallow_anonymous = true\n[http]\nlisten = \"[::]:80\"\n\
                default_consistency = \"stale\"\n";
    let config = from_file(text).expect("valid").config;
    assert_eq!((config.wal.segment_bytes, config.wal_keep_bytes), (1 << 20, 2 << 20));
    assert_eq!(
        (config.wal.durability, config.wal.interval),
        (wal::Durability::Interval, Duration::from_millis(20))
    );
    assert_eq!(config.seed.eviction, Eviction::VolatileTtl);
    assert_eq!(config.http.default_consistency, service::Consistency::Stale);
    assert_eq!(config.http.listen.to_string(), "[::]:80");
}

/// Goal: loopback is loopback however it is written, and nothing else is.
#[test]
fn loopback_may_be_mapped() {
    for listen in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        for key in ["http", "peer"] {
            let loaded = from_file(&format!("[{key}]\nlisten = \"{listen}\"\n"));
            assert!(loaded.is_ok(), "{key} {listen}: {:?}", loaded.err());
        }
    }
    for listen in ["0.0.0.0:80", "[::]:80", "[::ffff:10.0.0.1]:80", "192.0.2.1:80"] {
        refused(from_file(&format!("[http]\nlisten = \"{listen}\"\n")), &["http.listen", "allow_anonymous"]);
        refused(from_file(&format!("[peer]\nlisten = \"{listen}\"\n")), &["secret_file"]);
    }
}

/// Goal: names are names, and a slip is said with the key.
#[test]
fn allowed_hosts_are_names() {
    let of = |list: &str| from_environment(&[("KVORUM_HTTP__ALLOWED_HOSTS", list)]);
    assert!(of("kv.example.com, *.internal,*").is_ok());
    for list in ["http://kv", "kv:8080", "a b", "*a"] {
        refused(of(list), &["http.allowed_hosts"]);
    }
}

/// Goal: a slip names the key that was meant and where the slip stands.
#[test]
fn unknown_keys_name_the_nearest() {
    refused(
        from_file("[http]\nlisen = \"x\"\n"),
        &["http.lisen", "kvorum.toml", "did you mean `http.listen`"],
    );
    refused(from_file("[stor]\nmax_bytes = 1\n"), &["stor.max_bytes", "`store.max_bytes`"]);
    refused(from_file("listen = \"x\"\n"), &["`listen`", "`http.listen`"]);
    refused(from_file("http = 3\n"), &["`http`"]);
    refused(from_file("[http.listen]\nport = 3\n"), &["`http.listen`"]);
    let variable = ("KVORUM_WAL__DURABILTY", "always");
    refused(from_environment(&[variable]), &["wal.durabilty", "KVORUM_WAL__DURABILTY", "`wal.durability`"]);
    refused(from_environment(&[("KVORUM_XYZZY__Q", "1")]), &["xyzzy.q"]);
    let flags = vec![("--set".to_owned(), "raft.heartbeat".to_owned(), "1".to_owned())];
    refused(load(&Sources { flags, ..Sources::default() }, &Real), &["--set", "`raft.heartbeat_ms`"]);
}

/// Goal: what Kubernetes puts into the environment of a Service named kvorum is no setting.
#[test]
fn other_variables_are_passed_over() {
    let variables = [
        ("KVORUM_PORT", "tcp://10.0.0.1:8080"),
        ("KVORUM_SERVICE_HOST", "10.0.0.1"),
        ("KVORUM_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("KVORUM_URL", "http://somewhere"),
        ("KVORUM__X", "1"),
        ("KVORUM_HTTP__", "1"),
        ("OTHER_HTTP__LISTEN", "1"),
    ];
    let loaded = from_environment(&variables).expect("none of these is a setting");
    assert!(loaded.settings.iter().all(|setting| setting.origin == Origin::Default));
}

/// Goal: an empty variable is as if it were not there, but where empty is a value; elsewhere empty is what stands there.
#[test]
fn empty_variables_are_unset() {
    for key in KEYS {
        let loaded = from_environment(&[(&key.variable(), "")]).expect(key.name);
        let setting = loaded.settings.iter().find(|setting| setting.key == key).expect("a setting");
        match key.takes_empty {
            true => assert_eq!(
                (setting.value.as_str(), &setting.origin),
                ("", &Origin::Environment(key.variable()))
            ),
            false => assert_eq!((setting.value.as_str(), &setting.origin), (key.default, &Origin::Default)),
        }
    }
    let off = from_environment(&[("KVORUM_OPS__LISTEN", "")]).expect("it turns the listener off");
    assert_eq!(off.config.http.ops_listen, None);
    let sources =
        Sources { environment: environment(&[("KVORUM_STORE__MAX_KEYS", "")]), ..Sources::default() };
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(directory.path(), "[store]\nmax_keys = 7\n");
    let loaded = load(&Sources { file: Some(path), ..sources }, &Real).expect("valid");
    assert_eq!(loaded.config.seed.max_keys, 7, "what stands below counts");
    refused(from_environment(&[("KVORUM_XYZZY__Q", "")]), &["xyzzy.q"]);
    refused(from_file("[log]\nlevel = \"\"\n"), &["log.level", "kvorum.toml"]);
}

/// Goal: seeds and the advertised address are a host and a port, each seed stands there once, and a slip is told at once.
#[test]
fn addresses_of_peers_are_a_host_and_a_port() {
    let with = |name: &str, value: &str| {
        let listens = ("KVORUM_PEER__LISTEN", "127.0.0.1:7000");
        from_environment(&[listens, (name, value)])
    };
    for (variable, key) in
        [("KVORUM_CLUSTER__SEEDS", "cluster.seeds"), ("KVORUM_PEER__ADVERTISE", "peer.advertise")]
    {
        for good in ["a:7000", "[::1]:7000", "10.0.0.1:7000"] {
            assert!(with(variable, good).is_ok(), "{key} = {good}");
        }
        for bad in ["http://a:7000", "a:99999", "a", "a:0", "user@a:7000", "a:7000/x", "::1:7000"] {
            refused(with(variable, bad), &[key, bad, variable]);
        }
    }
    refused(with("KVORUM_CLUSTER__SEEDS", "a:7000,b:7000,A:7000"), &["cluster.seeds", "A:7000", "twice"]);
}

/// Goal: values that make no sense are refused, with the key, where it stood and what is wanted.
#[test]
fn bad_values() {
    let one = |key: &str, value: &str| {
        let flags = vec![("--set".to_owned(), key.to_owned(), value.to_owned())];
        load(&Sources { flags, ..Sources::default() }, &Real)
    };
    for (key, value, word) in [
        ("http.listen", "localhost", "127.0.0.1:8080"),
        ("http.default_consistency", "eventual", "stale"),
        ("http.request_timeout_ms", "soon", "whole number"),
        ("http.request_timeout_ms", "0", "10"),
        ("http.max_connections", "0", "1"),
        ("data.dir", "", "directory"),
        ("store.max_bytes", "1.5GiB", "KiB"),
        ("store.max_keys", "-1", "store.max_keys"),
        ("store.eviction", "mru", "volatile-lru"),
        ("store.max_value_bytes", "1GiB", "16711680"),
        ("wal.durability", "never", "interval"),
        ("wal.segment_bytes", "1", "segment_bytes"),
        ("snapshot.every_bytes", "0", "every_bytes"),
        ("raft.heartbeat_ms", "1000", "election_min_ms"),
        ("lifecycle.wait_s", "100000", "86400"),
        ("shutdown.drain_ms", "99999", "deadline_ms"),
        ("log.level", "inof", "info"),
        ("log.format", "xml", "json"),
        ("auth.allow_anonymous", "maybe", "boolean"),
    ] {
        refused(one(key, value), &[word]);
    }
    refused(from_file("[http\n"), &["kvorum.toml", "line 1"]);
    refused(from_file("[http]\nlisten = 5\n"), &["http.listen", "kvorum.toml"]);
    refused(
        load(&Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() }, &Real),
        &["/nowhere/x.toml"],
    );
}

/// Goal: nothing is rounded or guessed. A number is a whole number (or its digits, where there is only text) and a switch
/// is true or false, whatever the place; each refusal names the key and where it stood.
#[test]
fn numbers_and_switches_are_taken_as_they_are_meant() {
    let mut tried = 0;
    for key in KEYS {
        let (section, name) = key.name.split_once('.').expect("section and key");
        let not_this = match key.default {
            "true" | "false" => ["1", "0.0", "\"on\"", "\"1\"", "[true]"],
            default
                if default.starts_with(|first: char| first.is_ascii_digit()) && !default.contains(':') =>
            {
                ["1.5", "true", "-1", "\"on\"", "[1]"]
            }
            _ => continue,
        };
        tried += 1;
        for value in not_this {
            let refusal = from_file(&format!("[{section}]\n{name} = {value}\n"));
            refused(refusal, &[&format!("`{}`", key.name), "kvorum.toml"]);
            let text = value.trim_matches('"');
            refused(
                from_environment(&[(&key.variable(), text)]),
                &[&format!("`{}`", key.name), &key.variable()],
            );
        }
    }
    assert!(tried > 15, "numbers, sizes and switches were tried: {tried}");
    refused(from_file("[store]\nmax_keys = 1.5\n"), &["`store.max_keys`", "1.5", "whole number"]);
    for digits in ["+1", " 1", "1 ", "1e3", "1_000", "0x10", " "] {
        refused(from_environment(&[("KVORUM_STORE__MAX_KEYS", digits)]), &["`store.max_keys`"]);
    }
}

/// Goal: without accounts the node does not listen where others can reach it, unless that is said.
#[test]
fn public_addresses_are_refused() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.168.0.1:8080"] {
        refused(
            from_environment(&[("KVORUM_HTTP__LISTEN", address)]),
            &[address, "auth.allow_anonymous = true"],
        );
        let allowed = [("KVORUM_HTTP__LISTEN", address), ("KVORUM_AUTH__ALLOW_ANONYMOUS", "true")];
        assert!(from_environment(&allowed).is_ok(), "{address}");
    }
    for address in ["127.0.0.1:0", "127.8.8.8:80", "[::1]:80"] {
        assert!(from_environment(&[("KVORUM_HTTP__LISTEN", address)]).is_ok(), "{address}");
    }
}
