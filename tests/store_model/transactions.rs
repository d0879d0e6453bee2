//! Rules about the three modes.

use kvorum::model::{Check, Command, Condition, Eviction, Mode, Outcome, Transaction, Version};

use crate::fixture::{Fixture, add, delete, expire, key, set, set_if, transaction, ttl};

const UNMET: Outcome = Outcome::Unmet { version: Version::ABSENT };

#[test]
fn each_judges_every_command_by_itself() {
    let mut fixture = Fixture::limited(200, Eviction::NoEviction);
    let outcomes = fixture.run_all(
        Mode::Each,
        vec![set("a", 35), set("b", 200), set_if("c", Condition::Present), set("d", 35)],
    );
    assert!(outcomes[0].is_success() && outcomes[3].is_success());
    assert_eq!(outcomes[1..3], [Outcome::OutOfMemory, UNMET]);
    assert_eq!(fixture.names(), "a d");
}

#[test]
fn multi_has_no_rollback_but_is_judged_on_its_final_state() {
    let mut fixture = Fixture::limited(200, Eviction::NoEviction);
    let outcomes =
        fixture.run_all(Mode::Multi, vec![set("a", 500), set_if("b", Condition::Present), set("a", 35)]);
    assert_eq!(outcomes.iter().map(Outcome::is_success).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((fixture.names().as_str(), fixture.store.revision()), ("a", 2));
}

#[test]
fn a_multi_or_all_that_does_not_fit_publishes_nothing() {
    for mode in [Mode::Multi, Mode::All] {
        let mut fixture = Fixture::limited(200, Eviction::NoEviction);
        fixture.run(set("a", 35));
        let hash = fixture.store.state_hash();
        let outcomes = fixture.run_all(mode, vec![set("b", 35), set("c", 0), delete("x")]);
        assert_eq!(outcomes, [Outcome::OutOfMemory; 3]);
        assert_eq!(fixture.store.state_hash(), hash);
        let outcomes = fixture.run_all(mode, vec![set("b", 35), set("c", 0), delete("a")]);
        assert!(outcomes.iter().all(Outcome::is_success), "the final state fits");
    }
}

#[test]
fn a_failed_check_aborts_every_command() {
    for mode in [Mode::Multi, Mode::All] {
        let mut fixture = Fixture::unlimited();
        fixture.run(set("a", 1));
        let hash = fixture.store.state_hash();
        let check = |version| Check { key: key("a"), condition: Condition::Version(Version(version)) };
        let commands = vec![set("a", 2), delete("b")];
        let with = |checks| Transaction { checks, ..transaction(mode, commands.clone()) };
        assert_eq!(fixture.apply(&with(vec![check(1), check(0)])), [Outcome::Aborted; 2]);
        assert_eq!(fixture.store.state_hash(), hash);
        assert!(fixture.apply(&with(vec![check(1)]))[0].is_success());
    }
}

#[test]
fn all_publishes_only_if_every_command_succeeds() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set("text", 1));
    let hash = fixture.store.state_hash();
    let outcomes =
        fixture.run_all(Mode::All, vec![set("a", 1), add("text", 1), set_if("b", Condition::Present)]);
    assert_eq!(outcomes, [Outcome::Aborted, Outcome::NotAnInteger, Outcome::Aborted]);
    assert_eq!(fixture.store.state_hash(), hash);
    let outcomes = fixture.run_all(Mode::All, vec![delete("absent"), expire("absent", ttl(5)), set("a", 1)]);
    assert_eq!(outcomes[..2], [Outcome::Absent; 2]);
    assert_eq!(fixture.names(), "text a");
}

/// Goal: a refused transaction does not show a version that no key will ever have.
#[test]
fn a_refused_transaction_reports_versions_that_exist() {
    let mut fixture = Fixture::unlimited();
    fixture.run(set("a", 1));
    let commands = vec![set("a", 1), set("b", 1), set_if("a", Condition::Absent)];
    assert_eq!(fixture.run_all(Mode::All, commands)[2], Outcome::Unmet { version: Version(1) });
    let commands = vec![set("b", 1), set_if("b", Condition::Absent)];
    assert_eq!(fixture.run_all(Mode::All, commands)[1], UNMET);
}

#[test]
fn commands_see_the_ones_before_them() {
    for mode in [Mode::Each, Mode::Multi, Mode::All] {
        let mut fixture = Fixture::unlimited();
        let commands = vec![
            add("n", 5),
            add("n", 6),
            set_if("n2", Condition::Absent),
            delete("n2"),
            set_if("n2", Condition::Absent),
        ];
        let outcomes = fixture.run_all(mode, commands);
        assert!(outcomes.iter().all(Outcome::is_success), "{mode:?}: {outcomes:?}");
        assert_eq!(outcomes[1], Outcome::Number { value: 11, version: Version(2) });
    }
}

#[test]
fn flushall_and_settings_take_part_in_the_judgement() {
    let mut fixture = Fixture::limited(300, Eviction::NoEviction);
    fixture.run_all(Mode::Each, vec![set("a", 35), set("b", 35), set("c", 35)]);
    let outcomes = fixture.run_all(Mode::All, vec![Command::Clear, set("d", 200)]);
    assert_eq!(outcomes[0], Outcome::Cleared { keys: 3 });
    assert_eq!(fixture.names(), "d");
    let mut settings = fixture.store.settings();
    settings.max_bytes = 1_000;
    let outcomes = fixture.run_all(Mode::All, vec![set("e", 500), Command::Configure(settings.into())]);
    assert!(outcomes.iter().all(Outcome::is_success));
    settings.max_bytes = 100;
    let outcomes = fixture.run_all(Mode::Multi, vec![set("f", 500), Command::Configure(settings.into())]);
    assert_eq!(outcomes, [Outcome::OutOfMemory; 2]);
    assert_eq!(fixture.store.settings().max_bytes, 1_000);
}
