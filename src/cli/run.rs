//! From arguments to the command that they mean.

use clap::{CommandFactory, FromArgMatches};

use super::arguments::{Arguments, Command};
use super::exit::{Exit, Failure};
use super::{
    backup, bench, cluster, files, generate, keys, lifecycle, many, node, output, secret, serve, settings,
};

/// Runs the command line of this process and says how it ended.
#[expect(clippy::print_stderr, reason = "this is where the program says why it failed")]
pub fn run() -> Exit {
    let arguments = Arguments::from_arg_matches(&without_empty(Arguments::command()).get_matches());
    let arguments = arguments.unwrap_or_else(|error| error.exit());
    output::choose_colours(arguments.color);
    match dispatch(arguments) {
        Ok(exit) => exit,
        Err(Failure { exit, message }) => {
            eprintln!("kvorum: {message}");
            exit
        }
    }
}

/// An empty environment variable is as if it were not there: Compose and shells write `NAME=` for what nobody has set.
fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty =
        |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let heed = |arg: clap::Arg| if is_empty(&arg) { arg.env(clap::builder::Resettable::Reset) } else { arg };
    command.mut_args(heed).mut_subcommands(without_empty)
}

fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        None => serve::serve(&arguments.settings),
        Some(Command::Serve(settings)) => serve::serve(&settings),
        Some(Command::Get(get)) => keys::get(&get),
        Some(Command::Set(set)) => keys::set(&set),
        Some(Command::Del(del)) => keys::del(&del),
        Some(Command::Incr(incr)) => keys::incr(&incr),
        Some(Command::Ttl(ttl)) => keys::ttl(&ttl),
        Some(Command::Keys(keys)) => many::keys(&keys),
        Some(Command::Clear(clear)) => many::clear(&clear),
        Some(Command::Batch(batch)) => many::batch(&batch),
        Some(Command::Stats(server)) => node::stats(&server),
        Some(Command::Cluster(command)) => cluster::run(&command),
        Some(Command::Lifecycle(command)) => lifecycle::pre_stop(&command),
        Some(Command::Compact(server)) => node::compact(&server),
        Some(Command::Bench(options)) => bench::run(&options),
        Some(Command::Backup(backup)) => backup::backup(&backup),
        Some(Command::Restore(restore)) => backup::restore(&restore),
        Some(Command::Recover(recover)) => backup::recover(&recover),
        Some(Command::Maintenance(settings)) => serve::maintenance(&settings),
        Some(Command::Healthcheck(check)) => node::healthcheck(&check),
        Some(Command::Config(config)) => settings::run(&config),
        Some(Command::Openapi) => output::print(&crate::http::document()),
        Some(Command::Wal(wal)) => files::wal(&wal),
        Some(Command::Snapshot(snapshot)) => files::snapshot(&snapshot),
        Some(Command::Generate(generate)) => secret::generate(&generate),
        Some(Command::Completions(completions)) => generate::completions(&completions),
        Some(Command::Man(man)) => generate::man(&man),
    }
}
